"""What was said and done in a sandbox, turn by turn, as its page shows it: a window of it, and then what follows."""

from .following import Follower, Message
from .reading import Opened, Page, Read, latest, one, page

__all__ = ["Follower", "Message", "Opened", "Page", "Read", "latest", "one", "page"]
