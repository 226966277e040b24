"""Write I/O once for sync and async: a generator yields its steps, a driver performs them."""
