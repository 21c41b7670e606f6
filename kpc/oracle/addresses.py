"""The single addresses that a connect string leads to, in the order to try them.

The driver goes from one address to the next by itself, but waits for ever for one that accepts a connection and then
says nothing. Each address is therefore tried by itself, with a time of its own. What decides the order is Oracle's
(Net Services Reference, local naming parameters): ADDRESS_LIST, LOAD_BALANCE, FAILOVER, SOURCE_ROUTE.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(r'\(\s*([\w.#]+)\s*=\s*|("[^"]*"|[^()"]+)|(\))')
_ON = ("on", "yes", "true")
_OF_SEVERAL = ("ADDRESS", "ADDRESS_LIST", "LOAD_BALANCE", "FAILOVER", "RETRY_COUNT", "RETRY_DELAY")


@dataclass(frozen=True, slots=True)
class SingleAddress:
    """A connect string with one address, and its name for messages.

    `network_addresses` is how many addresses of the network the driver tries for it, one after the other.
    """

    connect_string: str
    name: str
    network_addresses: int = 1


@dataclass(slots=True)
class _Node:
    """One (NAME=value) or (NAME=(...)(...)) of a connect descriptor."""

    name: str
    value: str = ""
    children: list[_Node] = field(default_factory=list)

    def __str__(self) -> str:
        return f"({self.name}={self.value or ''.join(map(str, self.children))})"

    def all(self, name: str) -> list[_Node]:
        return [child for child in self.children if child.name == name]

    def get(self, name: str) -> str:
        return next((child.value for child in self.all(name)), "")

    def is_on(self, name: str) -> bool:
        return self.get(name).lower() in _ON

    def ordered(self, name: str) -> list[_Node]:
        """The children to try, in that order."""
        found = self.all(name)
        if self.is_on("LOAD_BALANCE"):
            random.shuffle(found)
        return found if not self.get("FAILOVER") or self.is_on("FAILOVER") else found[:1]


def single_addresses(descriptor: str) -> list[SingleAddress]:
    """The addresses of a descriptor as the driver writes it: (DESCRIPTION=...) or (DESCRIPTION_LIST=...)."""
    root = _parsed(descriptor)
    descriptions = root.ordered("DESCRIPTION") if root.name == "DESCRIPTION_LIST" else [root]
    return [address for description in descriptions for address in _addresses_of(description)]


def _parsed(descriptor: str) -> _Node:
    top = _Node("")
    open_nodes = [top]
    for name, value, end in _TOKEN.findall(descriptor):
        if name:
            node = _Node(name.upper())
            open_nodes[-1].children.append(node)
            open_nodes.append(node)
        elif end:
            open_nodes.pop()
        else:
            open_nodes[-1].value += value.strip()
    return top.children[0]


def _addresses_of(description: _Node) -> Iterator[SingleAddress]:
    if description.is_on("SOURCE_ROUTE"):  # its addresses are the hops of one way
        yield SingleAddress(str(description), "the route through Connection Manager")
        return
    shared = [child for child in description.children if child.name not in _OF_SEVERAL]
    for group in description.ordered("ADDRESS_LIST") or [description]:
        for address in group.ordered("ADDRESS"):
            yield from _network_addresses(address, shared)


def _network_addresses(address: _Node, shared: list[_Node]) -> Iterator[SingleAddress]:
    """One for each address that the host's name has, as that of a SCAN has three.

    A name stays as it is with TLS, whose certificate is compared with it, and behind a proxy, which resolves it.
    """
    host, port = address.get("HOST"), address.get("PORT")
    found = [] if address.get("HTTPS_PROXY") else _resolved(host)
    if len(found) > 1 and address.get("PROTOCOL").lower() == "tcp":
        for one in found:
            parts = [child for child in address.children if child.name != "HOST"] + [_Node("HOST", one)]
            yield SingleAddress(_described(_Node("ADDRESS", children=parts), shared), f"{host} ({one}):{port}")
        return
    yield SingleAddress(_described(address, shared), f"{host}:{port}", max(1, len(found)))


def _described(address: _Node, shared: list[_Node]) -> str:
    return str(_Node("DESCRIPTION", children=[*shared, address]))


def _resolved(host: str) -> list[str]:
    """Its addresses, each once; none if the name does not resolve, which the driver reports."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
