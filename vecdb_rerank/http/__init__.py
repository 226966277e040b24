"""Calling services by HTTP: transport, clients, retries, requests within limits, their errors."""
