"""Page views: a time-series collection, and what is read out of it.

Spec: https://www.mongodb.com/docs/manual/core/timeseries-collections/ (MongoDB 5.0 and newer)
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.values import Instant, Locale, now
from odm import Document, Granularity, PydanticObjectId, TimeSeriesConfig


class Viewed(BaseModel):
    """What was looked at: the measurement's metadata, by which the server groups."""

    page: PydanticObjectId
    locale: Locale = "en"


class PageView(Document):
    """One look at one page."""

    viewed: Viewed
    at: Instant = Field(default_factory=now)
    seconds: float = 0.0
    country: str | None = None

    class Settings:
        """Time-series collection ``page_views``."""

        name = "page_views"
        timeseries = TimeSeriesConfig(
            time_field="at", meta_field="viewed", granularity=Granularity.minutes
        )


class DailyViews(BaseModel):
    """Views of one page on one day: a row of an aggregation."""

    day: Instant = Field(alias="_id")
    views: int
    seconds: float
