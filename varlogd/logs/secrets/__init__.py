"""What must not leave this host is masked before it is searched."""
