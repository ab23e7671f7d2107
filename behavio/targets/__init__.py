"""Where results are delivered: planned, sent, read back, with a receipt."""

from behavio.targets.connect import deliver, rollback
from behavio.targets.receipt import Receipt
from behavio.targets.receipts import CrmReceipt
from behavio.targets.settings import DeliverSettings

__all__ = ["CrmReceipt", "DeliverSettings", "Receipt", "deliver", "rollback"]
