"""Tests of the benchmark; a package, so that its conftest is not taken for another."""
