"""Logs of containers: Docker and the CRI wrap the lines that a container wrote."""
