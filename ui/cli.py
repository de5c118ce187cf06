"""``youju keys``: the sub-commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import Json, Kb, _print_json, one_line_errors
from ui.access import AccessStore
from ui.keys import Keys, Scope

keys = typer.Typer(
    name="keys", help="访问服务的密钥。Keys to the server: made, listed, revoked.", no_args_is_help=True
)


@keys.command()
@one_line_errors
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="给谁用 (whose it is)")],
    scope: Annotated[
        Scope,
        typer.Option("--scope", help="权限: 读, 读和问, 管理 (what it may: read; ask, too; administer, too)"),
    ] = "ask",
    kb: Kb = None,
    json: Json = False,
) -> None:
    """建立密钥; 只显示这一次, 立即生效。Make a key; it is shown this once and holds at once."""
    key, secret = _keys(kb).add(name, scope)
    if json:
        _print_json({**key.as_json(), "key": secret})
    else:
        typer.echo(secret)
        typer.echo("请现在保存, 以后不能再显示 (keep it now: it cannot be shown again)", err=True)


@keys.command("list")
@one_line_errors
def list_keys(kb: Kb = None, json: Json = False) -> None:
    """列出密钥, 不含密钥本身。List the keys, not what they are."""
    found = _keys(kb).all()
    if json:
        _print_json([key.as_json() for key in found])
        return
    for key in found:
        typer.echo(f"{key.id}  {key.scope:5}  {key.made}  {key.name}")


@keys.command()
@one_line_errors
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID|NAME", help="编号或名称 (its id or name)")],
    kb: Kb = None,
) -> None:
    """撤销密钥; 立即失效, 用它登录的人也退出。Revoke a key; who logged in with it is out at once."""
    revoked = _keys(kb).revoke(key)
    typer.echo(f"已撤销 (revoked): {revoked.name} {revoked.id}")


def _keys(kb: Path | None) -> Keys:
    from rag.config import read_settings

    return Keys(AccessStore(read_settings(kb=kb).kb))
