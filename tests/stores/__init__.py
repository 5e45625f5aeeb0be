"""Tests of the store and of the ways to reach it."""
