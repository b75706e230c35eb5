"""What is asked of networks: tasks with their trials, right answers and input manifolds."""

from recurvature.tasks.base import AbstractTask as AbstractTask
from recurvature.tasks.base import Trials as Trials
from recurvature.tasks.context import ContextDecision as ContextDecision
from recurvature.tasks.decision import RandomDots as RandomDots
from recurvature.tasks.match import DelayedMatch as DelayedMatch
from recurvature.tasks.memory import WorkingMemory as WorkingMemory

TASKS: dict[str, type[AbstractTask]] = {
    "context-decision": ContextDecision,
    "random-dots": RandomDots,
    "delayed-match": DelayedMatch,
    "working-memory": WorkingMemory,
}
"""The tasks by their name on the command line."""
