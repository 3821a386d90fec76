"""The contract that every check must pass, ours or a plug-in's."""

from crenel.testing.contract import ContractError, check_check

__all__ = ["ContractError", "check_check"]
