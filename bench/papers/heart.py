#!/usr/bin/env python3
"""Prepares the UCI heart disease data as FLamby does: one folder a hospital, as IDX files.

    heart.py SOURCE TARGET [--seed N]

The columns slope, ca and thal are dropped, then rows with a missing value; chest pain and resting ECG become one-hot
without their first value: 13 numbers a patient. The label is whether there is a disease. Two thirds of each hospital's
patients, drawn per label, are for training; numbers are standardised with the mean and deviation of the hospital's own
training patients. (Ogier du Terrail et al., "FLamby", NeurIPS 2022, Fed-Heart-Disease.)
"""
import argparse
import math
import pathlib
import random
import struct

HOSPITALS = ["cleveland", "hungarian", "switzerland", "va"]
DROPPED = {10, 11, 12}
ONE_HOT = [2, 6]
LABEL = 13
TRAIN_SHARE = 0.66


def read(path):
    rows = []
    for line in path.read_text().split():
        cells = [cell for n, cell in enumerate(line.split(",")) if n not in DROPPED]
        if "?" not in cells:
            values = dict(zip([n for n in range(LABEL + 1) if n not in DROPPED], map(float, cells)))
            rows.append(values)
    return rows


def features(row, values_of):
    plain = [row[n] for n in sorted(row) if n not in ONE_HOT and n != LABEL]
    hot = [1.0 if row[n] == value else 0.0 for n in ONE_HOT for value in values_of[n][1:]]
    return plain + hot


def split(samples, seed):
    train, test = [], []
    generator = random.Random(seed)
    for label in (0, 1):
        members = [sample for sample in samples if sample[1] == label]
        generator.shuffle(members)
        cut = round(len(members) * TRAIN_SHARE)
        train += members[:cut]
        test += members[cut:]
    return train, test


def standardise(train, test):
    for n in range(len(train[0][0])):
        column = [sample[0][n] for sample in train]
        mean = sum(column) / len(column)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in column) / max(1, len(column) - 1)) or 1.0
        for sample in train + test:
            sample[0][n] = (sample[0][n] - mean) / deviation


def write(folder, name, samples):
    width = len(samples[0][0])
    numbers = struct.pack(f">{len(samples) * width}f", *[value for sample in samples for value in sample[0]])
    labels = bytes(sample[1] for sample in samples)
    (folder / f"{name}-images.idx3-ubyte").write_bytes(struct.pack(">III", 0x0D02, len(samples), width) + numbers)
    (folder / f"{name}-labels.idx1-ubyte").write_bytes(struct.pack(">II", 0x0801, len(samples)) + labels)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tables = {name: read(arguments.source / f"processed.{name}.data") for name in HOSPITALS}
    values_of = {n: sorted({row[n] for rows in tables.values() for row in rows}) for n in ONE_HOT}
    for name, rows in tables.items():
        samples = [(features(row, values_of), int(row[LABEL] > 0)) for row in rows]
        train, test = split(samples, f"{arguments.seed}/{name}")
        standardise(train, test)
        folder = arguments.target / name
        folder.mkdir(parents=True)
        write(folder, "train", train)
        write(folder, "test", test)


if __name__ == "__main__":
    main()
