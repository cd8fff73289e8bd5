"""What a share, a receipt or a staked token stands for, in whole units as contracts count.

Sources: ERC-4626 and OpenZeppelin's vault with virtual shares; aave-v3-core, WadRayMath and
ScaledBalanceTokenBase; Lido, WstETH. Amounts are whole numbers of a token's smallest unit.
"""

from dataclasses import dataclass

from risk.protocols.aave import RAY, ray_divide, ray_multiply


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault of ERC-4626: what it holds, its shares, and decimals that shares have more.

    It counts as if there were one unit of the asset and 10^offset shares more than there are: who
    gives to an empty vault to spoil its price loses to these shares about what he takes.
    """

    total_assets: int
    total_shares: int
    decimals_offset: int = 0

    def __post_init__(self) -> None:
        for name in ("total_assets", "total_shares", "decimals_offset"):
            whole(name, getattr(self, name))

    def shares_of(self, assets: int, *, up: bool = False) -> int:
        """Return the shares that assets come to: down for who deposits, up for who withdraws.

        >>> Vault(9_000, 6_000).shares_of(2_000)
        1333
        """
        numerator = whole("assets", assets) * self._shares
        return _ratio(numerator, self.total_assets + 1, up)

    def assets_of(self, shares: int, *, up: bool = False) -> int:
        """Return the assets that shares come to: down for who redeems, up for who mints.

        >>> Vault(9_000, 6_000).assets_of(2_000)
        2999
        """
        numerator = whole("shares", shares) * (self.total_assets + 1)
        return _ratio(numerator, self._shares, up)

    @property
    def _shares(self) -> int:
        return self.total_shares + int(10**self.decimals_offset)

    def deposit(self, assets: int) -> tuple[int, "Vault"]:
        """Return the shares that a deposit gets, and the vault after it."""
        shares = self.shares_of(assets)
        return shares, self._after(assets, shares)

    def mint(self, shares: int) -> tuple[int, "Vault"]:
        """Return the assets that shares cost, and the vault after it."""
        assets = self.assets_of(shares, up=True)
        return assets, self._after(assets, shares)

    def withdraw(self, assets: int) -> tuple[int, "Vault"]:
        """Return the shares that assets cost, and the vault after it.

        Raises:
            ValueError: the vault does not have as much.
        """
        shares = self.shares_of(assets, up=True)
        return shares, self._after(-assets, -shares)

    def redeem(self, shares: int) -> tuple[int, "Vault"]:
        """Return the assets that shares give, and the vault after it.

        Raises:
            ValueError: the vault does not have as many.
        """
        assets = self.assets_of(shares)
        return assets, self._after(-assets, -shares)

    def give(self, assets: int) -> "Vault":
        """Return the vault after assets came in for which nobody gets a share."""
        return self._after(assets, 0)

    def _after(self, assets: int, shares: int) -> "Vault":
        return Vault(self.total_assets + assets, self.total_shares + shares, self.decimals_offset)

    def recipe_units(self) -> float:
        """Return the assets that one unit of a share stands for, both in their own decimals."""
        return (self.total_assets + 1) * int(10**self.decimals_offset) / self._shares


def balance_of(scaled: int, index: int) -> int:
    """Return the balance of an aToken or a variable debt: scaled balance times index in rays.

    >>> balance_of(1_000_000, 1_193_695_000_000_000_000_000_000_000)
    1193695
    """
    return ray_multiply(whole("scaled balance", scaled), _index(index))


def scaled_balance_of(amount: int, index: int) -> int:
    """Return the scaled balance that an amount comes to at an index in rays.

    >>> scaled_balance_of(1_193_695, 1_193_695_000_000_000_000_000_000_000)
    1000000
    """
    return ray_divide(whole("amount", amount), _index(index))


def unwrapped(wrapped: int, pooled: int, shares: int) -> int:
    """Return the staked tokens that wrapped ones stand for: wstETH counts shares of all stETH.

    >>> unwrapped(10**18, 9_400_000 * 10**18, 8_000_000 * 10**18)
    1175000000000000000
    """
    if whole("shares", shares) == 0:
        raise ValueError("shares is 0; allowed is a whole number above 0: nothing is staked")
    return whole("wrapped", wrapped) * whole("pooled", pooled) // shares


def whole(name: str, value: int) -> int:
    """Return a whole number of 0 or more, or refuse it by its name.

    Raises:
        ValueError: it is negative, or no whole number.
    """
    if isinstance(value, bool) or value != int(value) or value < 0:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number of 0 up")
    return int(value)


def _index(index: int) -> int:
    if whole("index", index) < RAY:
        raise ValueError(f"index is {index}; allowed is 10^27 up, it begins there and never falls")
    return index


def _ratio(numerator: int, denominator: int, up: bool) -> int:
    return -(-numerator // denominator) if up else numerator // denominator
