"""Data sets: public ones, and tables of your own events."""

from springtide.evaluation.data.attribute_files import AttributeFile, with_attributes
from springtide.evaluation.data.datasets import DATASETS, Dataset, fetch, title_of
from springtide.evaluation.data.event_tables import read_interactions_file
from springtide.evaluation.data.feedback import with_feedback
from springtide.evaluation.data.selection import select

__all__ = [
    "DATASETS",
    "AttributeFile",
    "Dataset",
    "fetch",
    "read_interactions_file",
    "select",
    "title_of",
    "with_attributes",
    "with_feedback",
]
