"""Files: networks and results saved and found again, and anybody's weights read without running anything in them."""

from recurvature.io.certificate import Certificate as Certificate
from recurvature.io.certificate import equivalence as equivalence
from recurvature.io.checkpoint import load_checkpoint as load_checkpoint
from recurvature.io.checkpoint import save_checkpoint as save_checkpoint
from recurvature.io.importers.torch.live import wrap_torch as wrap_torch
from recurvature.io.layouts import LAYOUTS as LAYOUTS
from recurvature.io.layouts import ImportOptions as ImportOptions
from recurvature.io.layouts import Reading as Reading
from recurvature.io.layouts import TensorReading as TensorReading
from recurvature.io.network_files import Imported as Imported
from recurvature.io.network_files import read_network as read_network
from recurvature.io.recordings import RecordedCoordinate as RecordedCoordinate
from recurvature.io.recordings import Recording as Recording
from recurvature.io.recordings import looks_recorded as looks_recorded
from recurvature.io.recordings import polar as polar
from recurvature.io.recordings import read_recording as read_recording
from recurvature.io.recordings import save_recording as save_recording
from recurvature.io.specs import TrainSpec as TrainSpec
from recurvature.io.specs import read_toml as read_toml
from recurvature.io.specs import register as register
from recurvature.io.store import load as load
from recurvature.io.store import save as save
