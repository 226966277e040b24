"""HTTP with a deadline: transport, clients, proxies, retries."""
