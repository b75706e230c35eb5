"""What is asked of networks: tasks with their trials, right answers and input manifolds."""

from recurvature.tasks.addition import DelayedAddition as DelayedAddition
from recurvature.tasks.base import AbstractTask as AbstractTask
from recurvature.tasks.base import Recipe as Recipe
from recurvature.tasks.base import Trials as Trials
from recurvature.tasks.context import ContextDecision as ContextDecision
from recurvature.tasks.decision import RandomDots as RandomDots
from recurvature.tasks.environment import EnvironmentTask as EnvironmentTask
from recurvature.tasks.environment import LinearCourse as LinearCourse
from recurvature.tasks.environment import from_environment as from_environment
from recurvature.tasks.filter import AbstractFilter as AbstractFilter
from recurvature.tasks.filter import DampedOscillator as DampedOscillator
from recurvature.tasks.filter import ExponentialFilter as ExponentialFilter
from recurvature.tasks.flipflop import FlipFlop as FlipFlop
from recurvature.tasks.match import DelayedMatch as DelayedMatch
from recurvature.tasks.memory import AbstractTwoItems as AbstractTwoItems
from recurvature.tasks.memory import MemorySubtraction as MemorySubtraction
from recurvature.tasks.memory import WorkingMemory as WorkingMemory
from recurvature.tasks.reaching import BellCourse as BellCourse
from recurvature.tasks.reaching import CosinePopulation as CosinePopulation
from recurvature.tasks.reaching import Reaching as Reaching
from recurvature.tasks.reaching import explained as explained
from recurvature.tasks.recall import Recall as Recall
from recurvature.tasks.recorded import Recorded as Recorded
from recurvature.tasks.recorded import RecordedReaching as RecordedReaching
from recurvature.tasks.recorded import TunedReaches as TunedReaches
from recurvature.tasks.recorded import from_recording as from_recording
from recurvature.tasks.sorting import SequenceSorting as SequenceSorting
from recurvature.tasks.static import StaticCircle as StaticCircle
from recurvature.tasks.tuning import Tuning as Tuning
from recurvature.tasks.tuning import fit_tuning as fit_tuning
from recurvature.tasks.tuning import tuning_scores as tuning_scores

TASKS: dict[str, type[AbstractTask]] = {
    "context-decision": ContextDecision,
    "random-dots": RandomDots,
    "delayed-match": DelayedMatch,
    "working-memory": WorkingMemory,
    "memory-subtraction": MemorySubtraction,
    "static-circle": StaticCircle,
    "reaching": Reaching,
    "recall": Recall,
    "filter": ExponentialFilter,
    "oscillator": DampedOscillator,
    "flip-flop": FlipFlop,
    "sequence-sorting": SequenceSorting,
    "delayed-addition": DelayedAddition,
}
"""The tasks by their name on the command line."""
