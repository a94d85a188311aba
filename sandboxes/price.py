"""E2B's list price, for a figure beside a form; the bill comes from the ledger."""

from decimal import Decimal

# USD per second, per vCPU and per GiB of memory allocated (e2b.dev/pricing, November 2026); disk is included.
VCPU_SECOND = Decimal("0.000014")
GIB_SECOND = Decimal("0.0000045")


def hourly(cpu: int, memory_mb: int) -> Decimal:
    """USD for one hour of running with so many vCPUs and MB of memory."""
    second = cpu * VCPU_SECOND + Decimal(memory_mb) / 1024 * GIB_SECOND
    return (second * 3600).quantize(Decimal("0.0001"))
