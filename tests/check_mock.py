"""Holds a mock survey against the real file beside this one: python3 tests/check_mock.py FOLDER

Opens every file with astropy, warnings being errors, checks what the format promises, and prints mask counts and unusable
pixels of the mock spectra beside those of the real one.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

REAL = Path(__file__).parent / "data/apStar-dr17-2M19485057+5005279.fits"
LOST, LAB = 0x40FF, 0x10FF
# Photometry and targeting that a mock star has no use for.
NOT_MOCKED = {
    "WASH_M", "WASH_T2", "DDO51", "IRAC_3_6", "IRAC_4_5", "IRAC_5_8", "WISE_4_5", "TARG_4_5", "AKWISE", "SFD_EBV",
    "MIN_H", "MAX_H", "MIN_JK", "MAX_JK",
}


def bits(mask):
    return np.array([np.count_nonzero(mask >> bit & 1) for bit in range(15)])


def check(hdus, real, lost_chip):
    header = hdus[0].header
    assert set(real[0].header) - set(header) <= NOT_MOCKED, set(real[0].header) - set(header)
    n_visits = header["NVISITS"]
    n_rows = 2 if n_visits == 1 else n_visits + 2
    for mock, other in zip(hdus[1:8], real[1:8], strict=True):
        assert mock.data.shape == (n_rows, 8575) and mock.data.dtype == other.data.dtype
        assert list(mock.header) == list(other.header), (list(mock.header), list(other.header))
        assert mock.header["BUNIT"] == other.header["BUNIT"]
    assert hdus[8].data is None and len(hdus) == len(real)
    for mock, other in zip(hdus[9:], real[9:], strict=True):
        assert mock.columns.names == other.columns.names
    flux, error, mask = (hdus[n].data[0] for n in (1, 2, 3))
    inside = np.isfinite(flux)
    covered = np.zeros(8575, bool)
    for chip in "BGR":
        covered[header[chip + "OVERMIN"] : header[chip + "OVERMAX"] + 1] = True
    assert lost_chip or (inside == covered).all()
    assert (np.isfinite(error) == inside).all() and not mask[~inside].any()
    assert abs(np.median(flux[inside] / error[inside]) / header["SNR"] - 1) < 1e-12
    assert (error[inside & (mask & LOST != 0)] > 1e9).all()
    assert not hdus[3].data[1].any() and not any(hdus[n].data[:2].any() for n in (4, 5, 6, 7))
    if n_visits == 1:
        assert not hdus[1].data[1].any() and not hdus[2].data[1].any()
    else:
        assert (mask == np.where(inside, np.bitwise_and.reduce(hdus[3].data[2:]), 0)).all()
        assert np.isfinite(hdus[1].data[2:]).all()
    return n_visits, bits(mask), np.count_nonzero(~inside | (mask & LAB != 0))


def main(folder):
    warnings.simplefilter("error")
    folder = Path(folder)
    with fits.open(folder / "allStar.fits") as hdus:
        hdus.verify("exception")
    stars = Table.read(folder / "allStar.fits", hdu=1)
    truth = Table.read(folder / "truth.csv", format="csv")
    assert (np.diff(stars["RA"]) >= 0).all()
    assert (stars["APOGEE_ID"] == truth["apogee_id"]).all() and (stars["FIELD"] == truth["field"]).all()
    found = []
    with fits.open(REAL) as real:
        for star, tag in zip(stars, truth["pathology"], strict=True):
            path = folder / "spectra" / star["TELESCOPE"] / star["FIELD"] / star["FILE"]
            with fits.open(path) as hdus:
                hdus.verify("exception")
                result = check(hdus, real, tag == "dead_chip")
                assert np.float32(hdus[0].header["SNR"]) == star["SNR"]
            if tag != "dead_chip":
                found.append(result)
        print("mask bits 0-14, real, one visit:     ", bits(real[3].data[0]))
    visits, counts, unusable = (np.array(column) for column in zip(*found))
    for n in range(1, visits.max() + 1):
        if (visits == n).any():
            typical = np.median(counts[visits == n], axis=0).astype(int)
            print(f"mask bits 0-14, mock, {n} visits, median:", typical, f"({np.count_nonzero(visits == n)} stars)")
    print(f"unusable pixels: mean {unusable.mean():.0f}, median {np.median(unusable):.0f}, "
          f"{unusable.min()} to {unusable.max()}; {len(stars)} files as the format wants them")


if __name__ == "__main__":
    main(*sys.argv[1:])
