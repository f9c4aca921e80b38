"""Reports for people: pages, tables, drawings and sentences."""

from trainer.reporting.chart import save_front
from trainer.reporting.files import save_json
from trainer.reporting.html import save_html
from trainer.reporting.pictures import contact_sheet, picture_rows
from trainer.reporting.summary import summaries

__all__ = ["contact_sheet", "picture_rows", "save_front", "save_html", "save_json", "summaries"]
