"""Recordings of neural populations: activity in bins beside what the animal did, from the files that people have."""

from recurvature.io.recordings.reading import looks_recorded as looks_recorded
from recurvature.io.recordings.reading import read_recording as read_recording
from recurvature.io.recordings.recording import RecordedCoordinate as RecordedCoordinate
from recurvature.io.recordings.recording import Recording as Recording
from recurvature.io.recordings.recording import polar as polar
from recurvature.io.recordings.storing import save_recording as save_recording
