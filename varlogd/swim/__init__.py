"""Membership (SWIM with Lifeguard's extensions), sans-IO: events and `now` in, directives out. See `swim.core`."""
