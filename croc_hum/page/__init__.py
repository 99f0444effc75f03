"""The web page on which annotators label images, with the view of the administrator.

In: a store of items; answers from browsers.
Out: votes in the store; exported files for the administrator.
"""

from croc_hum.page.app import build, launch
from croc_hum.page.campaign import VERSION, Campaign

__all__ = ["VERSION", "Campaign", "build", "launch"]
