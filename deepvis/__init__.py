"""The method of Yosinski et al. 2015 as a library: networks, layers, windows, regularised ascent, pictures."""
