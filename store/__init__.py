"""The picture store: content-addressed, put-if-absent."""
