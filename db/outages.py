"""How the libraries say that the database is away, full or locked: nothing that a traceback would explain."""

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

OUTAGES = (OperationalError, InterfaceError, NoFreeConnection)
