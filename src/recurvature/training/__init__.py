"""How a network learns: one network or an ensemble of seeds, by gradient descent through time."""

from recurvature.training.checkpoint import TrainingState as TrainingState
from recurvature.training.ensemble import fit_ensemble as fit_ensemble
from recurvature.training.ensemble import seed_keys as seed_keys
from recurvature.training.fit import fit as fit
from recurvature.training.history import Fit as Fit
from recurvature.training.history import History as History
from recurvature.training.loss import mean_squared_error as mean_squared_error
from recurvature.training.loss import no_task as no_task
from recurvature.training.penalty import Penalty as Penalty
from recurvature.training.penalty import l2_rates as l2_rates
from recurvature.training.penalty import l2_weights as l2_weights
from recurvature.training.population import PopulationFit as PopulationFit
from recurvature.training.population import PopulationHistory as PopulationHistory
from recurvature.training.population import fit_along as fit_along
from recurvature.training.population import fit_population as fit_population
from recurvature.training.readout import refit_readout as refit_readout
