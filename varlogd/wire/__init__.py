"""Every message that crosses a socket, its bytes, and its bounds."""
