"""Settings come from the environment and `.env`; secrets never print."""

import os
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.errors import Stop

PROJECT_DIR = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Everything that differs between machines.

    With neither `DATABASE_URL` nor `PGHOST` set, PostgreSQL is embedded below `state_dir`.
    """

    model_config = SettingsConfigDict(
        env_file=PROJECT_DIR / ".env", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    state_dir: Path = Field(PROJECT_DIR / ".truebar", alias="TRUEBAR_STATE_DIR")
    models_dir: Path = Field(PROJECT_DIR / "models_registry" / "models", alias="TRUEBAR_MODELS_DIR")

    database_url: SecretStr | None = Field(None, alias="DATABASE_URL")
    pghost: str | None = Field(None, alias="PGHOST")
    pgport: int = Field(5432, alias="PGPORT")
    pgdatabase: str = Field("truebar", alias="PGDATABASE")
    # roles are those of the whole server: a second truebar on one server, or roles of others named so, need a prefix
    role_prefix: str = Field("", alias="TRUEBAR_ROLE_PREFIX", pattern=r"^([a-z][a-z0-9_]{0,30})?$")
    pguser: str | None = Field(None, alias="PGUSER")
    pgpassword: SecretStr | None = Field(None, alias="PGPASSWORD")

    polygon_api_key: SecretStr | None = Field(None, alias="POLYGON_API_KEY")
    # None: paid plans have no limit; the free plan allows 5
    polygon_requests_a_minute: int | None = Field(None, alias="POLYGON_REQUESTS_A_MINUTE", ge=1)
    polygon_base_url: str = Field("https://api.polygon.io", alias="POLYGON_BASE_URL")
    # real time; a plan with delayed data has wss://delayed.polygon.io
    polygon_stream_url: str = Field("wss://socket.polygon.io", alias="POLYGON_STREAM_URL")

    # public data needs no key; data-api.binance.vision serves market data only
    binance_api_key: SecretStr | None = Field(None, alias="BINANCE_API_KEY")
    binance_base_url: str = Field("https://api.binance.com", alias="BINANCE_BASE_URL")
    binance_stream_url: str = Field("wss://stream.binance.com:9443", alias="BINANCE_STREAM_URL")

    geckoterminal_base_url: str = Field("https://api.geckoterminal.com/api/v2", alias="GECKOTERMINAL_BASE_URL")

    # the demo plan works without a key; its keys and hosts are not the paid plans'
    coingecko_plan: Literal["demo", "pro"] = Field("demo", alias="COINGECKO_PLAN")
    coingecko_api_key: SecretStr | None = Field(None, alias="COINGECKO_API_KEY")
    coingecko_base_url: str | None = Field(None, alias="COINGECKO_BASE_URL")

    # trading has keys of its own; the testnet's are not those of the exchange
    binance_trading_key: str | None = Field(None, alias="BINANCE_TRADING_KEY")
    binance_trading_secret: SecretStr | None = Field(None, alias="BINANCE_TRADING_SECRET")
    # instead of the secret: a private key (Ed25519 or RSA) as PEM, or the path of its file
    binance_trading_private_key: SecretStr | None = Field(None, alias="BINANCE_TRADING_PRIVATE_KEY")
    binance_trading_url: str = Field("https://testnet.binance.vision", alias="BINANCE_TRADING_URL")
    binance_trading_socket_url: str = Field(
        "wss://ws-api.testnet.binance.vision/ws-api/v3", alias="BINANCE_TRADING_SOCKET_URL"
    )
    # what the account counts in: instruments that cost something else are not traded in it
    binance_trading_currency: str = Field("USDT", alias="BINANCE_TRADING_CURRENCY")

    # limits of accounts, models and symbols; when not set, limits.yaml of this folder, if there is one
    limits_file: Path | None = Field(None, alias="TRUEBAR_LIMITS")

    # what a search may use; when not set, the cores of its process, and 60 % of the memory of the machine or container
    training_threads: int | None = Field(None, alias="TRUEBAR_TRAINING_THREADS", ge=1)
    training_memory_gb: float | None = Field(None, alias="TRUEBAR_TRAINING_MEMORY_GB", gt=0, allow_inf_nan=False)

    alpaca_key_id: str | None = Field(None, alias="APCA_API_KEY_ID")
    alpaca_secret_key: SecretStr | None = Field(None, alias="APCA_API_SECRET_KEY")
    alpaca_base_url: str = Field("https://paper-api.alpaca.markets", alias="APCA_API_BASE_URL")
    alpaca_stream_url: str = Field("wss://paper-api.alpaca.markets/stream", alias="APCA_API_STREAM_URL")


def make_state_dir(folder: Path) -> None:
    """Make the state folder or a folder in it, for its owner alone. Raises Stop when that cannot be done.

    Root's PostgreSQL runs as another user, who has to pass through a folder of root's but not to list it.
    """
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise Stop(
            f"the state folder {folder} cannot be made: {error.strerror}; set TRUEBAR_STATE_DIR to a folder of yours"
        ) from None


@cache
def warn_of_open_file(path: Path) -> None:
    """Once in the life of a process: a file that was copied may have kept a mode that lets others read its keys."""
    if path.exists() and path.stat().st_mode & 0o077:
        print(
            f"others on this machine can read {path}, which holds keys: `chmod 600 {shlex.quote(str(path))}`",
            file=sys.stderr,
        )


def load() -> Settings:
    """Read the settings now. Raises Stop naming the variable and what is wrong with it, never its value."""
    if not (PROJECT_DIR / "dbt_project" / "dbt_project.yml").exists():
        raise Stop(f"truebar runs from its checkout, and {PROJECT_DIR} is none: clone it and run `make install` there")
    warn_of_open_file(PROJECT_DIR / ".env")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Stop(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']} (environment or .env)") from None
