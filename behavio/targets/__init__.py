"""Where results are delivered: planned, sent, read back, with a receipt."""

from behavio.targets.files import deliver
from behavio.targets.receipt import Receipt
from behavio.targets.settings import DeliverSettings

__all__ = ["DeliverSettings", "Receipt", "deliver"]
