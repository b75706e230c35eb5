"""How foreign tensors are understood: each layout recognises names, checks shapes and builds a network."""

from recurvature.io.layouts.choose import LAYOUTS as LAYOUTS
from recurvature.io.layouts.choose import interpret as interpret
from recurvature.io.layouts.ledger import ImportOptions as ImportOptions
from recurvature.io.layouts.ledger import Reading as Reading
from recurvature.io.layouts.ledger import TensorReading as TensorReading
