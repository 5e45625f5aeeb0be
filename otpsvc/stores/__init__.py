"""The places where state is kept, and the ways to reach them."""
