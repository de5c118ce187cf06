"""``youju keys`` and ``youju sites``: the sub-commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import Json, Kb, complain, one_line_errors, parse_article, print_json
from rag.config import read_settings
from rag.store import Store
from ui.access import AccessStore
from ui.keys import Keys, Scope
from ui.sites import Sites, articles_named, is_plain

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
        print_json({**key.as_json(), "key": secret})
    else:
        typer.echo(secret)
        typer.echo("请现在保存, 以后不能再显示 (keep it now: it cannot be shown again)", err=True)


@keys.command("list")
@one_line_errors
def list_keys(kb: Kb = None, json: Json = False) -> None:
    """列出密钥, 不含密钥本身。List the keys, not what they are."""
    found = _keys(kb).all()
    if json:
        print_json([key.as_json() for key in found])
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
    return Keys(AccessStore(read_settings(kb=kb).kb))


sites = typer.Typer(
    name="sites",
    help="哪些网站的页面可以嵌入组件。The sites whose pages may hold the widget.",
    no_args_is_help=True,
)


@sites.command("add")
@one_line_errors
def add_site(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="名称, 已有的就更新 (an existing one is updated)")
    ],
    origin: Annotated[
        list[str],
        typer.Option("--origin", metavar="ORIGIN", help="来源, 如 https://portal.example (repeatable)"),
    ],
    article: Annotated[
        list[str] | None,
        typer.Option(
            "--article", metavar="N", help="只答这篇: 编号或 文档:编号 (only this article; repeatable)"
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="组件的标题 (the widget's title)")] = "",
    kb: Kb = None,
    json: Json = False,
) -> None:
    """登记网站, 印出编号和嵌入代码; 立即生效。Add or update a site; prints its id and the snippet."""
    settings = read_settings(kb=kb)
    with Store.open(settings.kb) as store:
        listed = articles_named([parse_article(value) for value in article], store) if article else None
    site = _sites(kb).put(name, origin, listed, title)
    for plain in filter(is_plain, site.origins):
        complain(f"{plain} 的页面可在途中被改动, 宜用 https (pages over http can be changed on their way)")
    if json:
        print_json({**site.as_json(), "snippet": site.snippet})
    else:
        typer.echo(f"{site.id}\n{site.snippet}")
        typer.echo("HOST 换成浏览器访问本服务的地址 (HOST: where browsers reach this server)", err=True)


@sites.command("list")
@one_line_errors
def list_sites(kb: Kb = None, json: Json = False) -> None:
    """列出网站。List the sites."""
    found = _sites(kb).all()
    if json:
        print_json([site.as_json() for site in found])
        return
    for site in found:
        articles = (
            "全部文章 (all articles)" if site.articles is None else f"{len(site.articles)} 篇 (articles)"
        )
        typer.echo(f"{site.id}  {site.name}  {' '.join(site.origins)}  {articles}")


@sites.command("remove")
@one_line_errors
def remove_site(
    site: Annotated[str, typer.Argument(metavar="ID", help="网站编号 (id of a site)")], kb: Kb = None
) -> None:
    """移除网站; 它的会话立即失效。Remove a site; its sessions end at once."""
    removed = _sites(kb).remove(site)
    typer.echo(f"已移除 (removed): {removed.name} {removed.id}")


def _sites(kb: Path | None) -> Sites:
    return Sites(AccessStore(read_settings(kb=kb).kb))
