"""What a report must not show: columns whose values, not only whose names, are personal."""

from __future__ import annotations

from dataclasses import replace

from crenel.subject import Subject

#: Rows that are looked at.
ROWS = 5_000


def mark_personal(subject: Subject) -> Subject:
    """The subject with every column that holds personal data marked as sensitive in its schema.

    Examples and the description of columns withhold the values of sensitive columns. The schema
    goes by names; this goes by what is in the columns, as CON-103 does.
    """
    from crenel.confidentiality import personal_data

    data = subject.train or subject.test
    if subject.schema is None or data is None or not data.is_table:
        return subject
    found = {hit.column for hit in personal_data(data.x.head(ROWS))}
    features = tuple(
        f.model_copy(update={"sensitive": True}) if f.name in found else f
        for f in subject.schema.features
    )
    return replace(subject, schema=subject.schema.model_copy(update={"features": features}))
