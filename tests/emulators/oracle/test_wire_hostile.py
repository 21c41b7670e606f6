"""Clients that break the protocol: each is sent away with one line in the log, and nobody else is hurt."""

from __future__ import annotations

import logging
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

import oracledb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_wire_double import FixedDatabase, connect

from kpc.emulators.oracle.interface import OraColumn, OraError, OraType
from kpc.emulators.oracle.wire.login.logon import ListenerOptions
from kpc.emulators.oracle.wire.server import Listener
from kpc.emulators.oracle.wire.transport.packets import PacketChannel, PeerClosed, ProtocolError
from kpc.emulators.oracle.wire.transport.streams import RequestStream, ResponseWriter

ONE = "select 1 from dual"


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    database = FixedDatabase()
    database.table(ONE, [OraColumn("1", OraType.NUMBER)], pa.record_batch([pa.array([1])], names=["1"]))
    with Listener(database) as server:
        yield server


def _packet(kind: int, body: bytes, *, large: bool = False) -> bytes:
    return struct.pack(">IBxxx" if large else ">HxxBxxx", len(body) + 8, kind) + body


def _connect_packet(service: str = "KPCDB") -> bytes:
    data = f"(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME={service})))".encode()
    body = bytearray(66)
    struct.pack_into(">5H", body, 0, 319, 300, 0, 8192, 8192)
    struct.pack_into(">HH", body, 16, len(data), 74)
    struct.pack_into(">II", body, 50, 8192, 8192)
    return _packet(1, bytes(body) + data)


ACCEPTED = _connect_packet()
ATTACKS = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303"),
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "tiny packet": _packet(1, b""),
    "packet smaller than its header": struct.pack(">HxxBxxx", 3, 1),
    "unknown type": _packet(77, b"x" * 60),
    "data before connect": _packet(6, b"\x00\x00\x03\x5e\x01"),
    "marker before connect": _packet(12, b"\x01\x00\x01"),
    "half a packet": ACCEPTED[:30],
    "huge packet after accept": ACCEPTED + struct.pack(">IBxxx", 0xFFFFFFF0, 6),
    "garbage after accept": ACCEPTED + b"\xde\xad\xbe\xef" * 20,
    "wrong message after accept": ACCEPTED + _packet(6, b"\x00\x00\x63\x00\x00", large=True),
    "marker after accept": ACCEPTED + _packet(12, b"\x01\x00\x03", large=True),
    "end of file after accept": ACCEPTED + _packet(6, b"\x00\x40", large=True),
    "huge value after accept": ACCEPTED
    + _packet(6, b"\x00\x00\x01\x06\x00x\x00" + b"\x02" + bytes(5) + b"\xfe\x04\xff\xff\xff\xff", large=True),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_broken_clients_are_sent_away_and_others_go_on(server: Listener, attack: str) -> None:
    """A healthy session, opened before, works during and after."""
    with connect(server) as connection:
        with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
            sock.sendall(ATTACKS[attack])
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(5)
            while sock.recv(65536):
                pass
        assert connection.cursor().execute(ONE).fetchall() == [(1,)]
    with connect(server) as connection:
        connection.ping()


def test_a_broken_client_costs_one_line_in_the_log(server: Listener, caplog: pytest.LogCaptureFixture) -> None:
    """And no traceback."""
    with (
        caplog.at_level(logging.INFO, "kpc.emulators.oracle"),
        socket.create_connection(("127.0.0.1", server.port), 5) as sock,
    ):
        sock.sendall(b"\xff" * 100)
        sock.settimeout(30)
        assert sock.recv(10) == b""
        deadline = time.monotonic() + 30
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    [record] = caplog.records
    assert "does not speak the protocol" in record.getMessage()
    assert record.exc_info is None


def _tamper(listener: socket.socket, port: int, damage: random.Random) -> None:
    """Between a real client and the server: after the login, damage one packet, then pass everything on."""
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port), 5) as upstream:

        def back() -> None:
            try:
                while data := upstream.recv(65536):
                    client.sendall(data)
            except OSError:
                pass
            finally:
                client.close()

        threading.Thread(target=back, daemon=True).start()
        packets = 0
        try:
            while data := client.recv(65536):
                packets += 1
                if packets > 5 and damage.random() < 0.5:
                    changed = bytearray(data)
                    for _ in range(damage.randint(1, 4)):
                        changed[damage.randrange(10, len(changed)) if len(changed) > 10 else 0] = damage.randrange(256)
                    data = bytes(changed)
                upstream.sendall(data)
        except OSError:
            return


@pytest.mark.parametrize("seed", range(12))
def test_damaged_requests_of_a_real_client_do_not_hurt_the_server(server: Listener, seed: int) -> None:
    """Bytes changed on the way, after the login: the session may die, the server and others must not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=_tamper, args=(listener, server.port, random.Random(seed)), daemon=True).start()  # noqa: S311 - repeatable damage
        try:
            victim = connect(server, dsn=f"127.0.0.1:{port}/KPCDB")
            victim.call_timeout = 500
            for _ in range(20):
                victim.cursor().execute(ONE).fetchall()
        except (oracledb.Error, UnicodeDecodeError, OSError, ValueError):
            pass
    with connect(server) as connection:
        assert connection.cursor().execute(ONE).fetchall() == [(1,)]


def test_too_many_connections_are_turned_away() -> None:
    """The ones that are open go on."""
    database = FixedDatabase()
    database.table(ONE, [OraColumn("1", OraType.NUMBER)], pa.record_batch([pa.array([1])], names=["1"]))
    with Listener(database, options=ListenerOptions(max_connections=3)) as few, connect(few) as connection:
        idle = [socket.create_connection(("127.0.0.1", few.port), 5) for _ in range(3)]
        try:
            idle[-1].settimeout(5)
            assert idle[-1].recv(1) == b""
            assert connection.cursor().execute(ONE).fetchall() == [(1,)]
        finally:
            for sock in idle:
                sock.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_a_stream_of_random_bytes_ends_in_an_error_and_never_in_a_crash(noise: bytes) -> None:
    """Whatever the bytes claim, parsing stops at what was really sent."""
    from kpc.emulators.oracle.wire.calls import lob_requests, requests

    for read in (
        lambda stream: requests.read_execute(stream, 12, lambda _: ""),
        lambda stream: requests.read_execute(stream, 24, lambda _: "insert into t values (:1) returning a into :2"),
        lob_requests.read_lob,
        requests.read_end_to_end,
    ):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(_packet(6, b"\x00\x00" + noise))
            theirs.shutdown(socket.SHUT_WR)
            try:
                read(RequestStream(PacketChannel(ours)))
            except (ProtocolError, PeerClosed):
                pass
            except OraError as error:
                assert error.code == 3115


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=8), st.sampled_from([512, 513, 8192]), st.booleans())
def test_a_response_is_cut_into_packets_and_put_together_again(
    parts: list[bytes], sdu: int, end_of_response: bool
) -> None:
    """No packet is larger than the SDU, only the last is marked, and no byte is lost."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel, peer = PacketChannel(ours), PacketChannel(theirs)
        channel.accept(sdu)
        peer.accept(sdu)
        writer = ResponseWriter(channel, end_of_response=end_of_response)
        for part in parts:
            writer.write(part)
            writer.flush()
        writer.finish()
        ours.shutdown(socket.SHUT_WR)
        bodies = []
        with pytest.raises(PeerClosed):
            while True:
                bodies.append(peer.next_packet().body)
    assert all(len(body) + 8 <= sdu for body in bodies)
    flags = [struct.unpack_from(">H", body)[0] for body in bodies]
    assert flags == [0] * (len(bodies) - 1) + [0x2000 if end_of_response else 0]
    assert b"".join(body[2:] for body in bodies) == b"".join(parts) + (b"\x1d" if end_of_response else b"")
