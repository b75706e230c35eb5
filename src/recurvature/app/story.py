"""The report on one network as a story: task, network, learning, what every lens saw, and how much of it to believe."""

from recurvature.app import about_network, sections, trust
from recurvature.app.asked import task_section
from recurvature.app.page import Section
from recurvature.app.pipeline import Study
from recurvature.io import Certificate, Reading
from recurvature.training import History


def story(
    found: Study,
    *,
    read: Reading | None = None,
    certificate: Certificate | None = None,
    history: History | None = None,
) -> list[Section]:
    """The sections in their order; `read` and `certificate` are of the file that the network is from."""
    subject = found.subject
    parts = [
        task_section(subject.task, found.performance, subject.probe),
        about_network.network_section(subject.network, read),
    ]
    if subject.task is not None:
        parts.append(sections.learning_section(subject.task, found.performance, history))
    return [*parts, *found.sections, trust.section(found.seen, found.agreed, certificate)]
