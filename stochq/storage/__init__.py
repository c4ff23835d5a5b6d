"""Bytes on disk: arrays without pickle, files that are whole or not there."""
