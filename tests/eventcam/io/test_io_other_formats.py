"""Files in formats that are not read, or under another's name, are told apart by what they hold."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, make_events, one_event, write_dat
from raw_toys import write_raw

from eventcam.errors import EventDataError
from eventcam.io import open_events

OTHERS = [
    (b"% evt 2.1\n% end\n", "EVT21.*metavision_file_to_dat -i a.raw"),
    (b"% format EVT21;endianness=legacy;height=7;width=9\n", "EVT21.*metavision_file_to_dat"),
    (b"% format EVT4;height=320;width=320\n", "EVT4.*metavision_file_to_dat"),
    (b"% format HISTO3D;height=320;width=320\n", "HISTO3D.*[Rr]ecord"),
    (b"% serial_number 5\n", "% evt 3.0"),
    (b"#!AER-DAT4.0\r\n", "AEDAT 4.0.*write_h5_recording"),
    (b"#!AER-DAT3.1\r\n#Format: RAW\r\n", "AEDAT 3.1.*DV"),
    (b"#!AER-DAT2.0\r\n", "AEDAT 2.0.*DV"),
]


@pytest.mark.parametrize(("content", "what"), OTHERS)
def test_other_formats_are_named_with_what_to_do(tmp_path, content, what):
    path = tmp_path / "a.raw"
    path.write_bytes(content)
    with pytest.raises(EventDataError, match=what):
        open_events(path)
    if content.startswith(b"#"):
        with pytest.raises(EventDataError, match=what):
            open_events(path.rename(tmp_path / "a.aedat4"))


def test_raw_and_dat_of_the_other_name_are_told_their_own(tmp_path):
    write_dat(tmp_path / "a.raw", one_event(1, 1, 1), "% Version 2\n% Width 9\n% Height 9\n")
    with pytest.raises(EventDataError, match=r"ending \.dat"):
        open_events(tmp_path / "a.raw")
    path = write_raw(tmp_path / "b.dat", "EVT3", make_events(9), WIDTH, HEIGHT)
    with pytest.raises(EventDataError, match=r"ending \.raw"):
        open_events(path)
    (tmp_path / "a.raw").rename(tmp_path / "a.dat")
    path.rename(tmp_path / "b.raw")
    for name, events in (("a.dat", 1), ("b.raw", 9)):
        with open_events(tmp_path / name) as reader:
            assert reader.num_events() == events


def test_hdf5_of_metavision_is_named_with_what_to_do(tmp_path):
    space, kind = h5py.h5s.create_simple((4,)), np.dtype("H,H,h,q")
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((4,))
    creation.set_filter(0x8ECF, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        group = file.create_group("CD")
        h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(kind), space, creation)
    with pytest.raises(EventDataError, match=r"ECF.*metavision_file_to_dat -i a\.hdf5"):
        open_events(tmp_path / "a.hdf5")
