"""How a network learns: one network or an ensemble of seeds, by gradient descent through time."""

from recurvature.training.activity import Activity as Activity
from recurvature.training.activity import sample_activity as sample_activity
from recurvature.training.alpha_scan import AlphaScan as AlphaScan
from recurvature.training.alpha_scan import scan_alpha as scan_alpha
from recurvature.training.checkpoint import TrainingState as TrainingState
from recurvature.training.cornn import OneStepFit as OneStepFit
from recurvature.training.cornn import OneStepReport as OneStepReport
from recurvature.training.cornn import cornn as cornn
from recurvature.training.cornn_low_rank import cornn_low_rank as cornn_low_rank
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
