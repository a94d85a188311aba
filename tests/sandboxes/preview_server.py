"""A server for tests of previews, which runs inside a machine on the standard library alone.

/echo answers with what it was asked, /stream with endless pieces, /slow never, /cookies with all kinds of cookies,
/away redirects to itself by its own name, /garbage speaks no HTTP, /bad is a 502 of its own; any WebSocket says what
it hears, reversed.
"""

import base64
import hashlib
import json
import socketserver
import time


class Handler(socketserver.StreamRequestHandler):
    """One request a connection."""

    def handle(self) -> None:
        line = self.rfile.readline().decode("latin1").split()
        headers = []
        while row := self.rfile.readline().strip().decode("latin1"):
            headers.append(row.split(": ", 1))
        known = {name.lower(): value for name, value in headers}
        if "sec-websocket-key" in known:
            return self.websocket(known)
        if known.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self.rfile.read(int(known.get("content-length", 0)))
        path = line[1].split("?")[0]
        getattr(self, path.strip("/") or "echo", self.echo)(line, headers, body)
        return None

    def chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def answer(self, status: str, body: bytes, *headers: str) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
        self.wfile.write(head.encode("latin1") + body)

    def echo(self, line: list[str], headers: list[list[str]], body: bytes) -> None:
        asked = {"method": line[0], "target": line[1], "headers": headers, "body": body.decode("latin1")}
        self.answer("200 OK", json.dumps(asked).encode(), "Content-Type: application/json", "X-Powered-By: test")

    def page(self, *_: object) -> None:
        self.answer("200 OK", PAGE, "Content-Type: text/html")

    def cookies(self, *_: object) -> None:
        given = ["app=1; Domain=localhost; Path=/", "courier-preview=stolen; Path=/", "plain=2; HttpOnly"]
        self.answer("200 OK", b"", *[f"Set-Cookie: {value}" for value in given], 'Clear-Site-Data: "cookies"')

    def away(self, *_: object) -> None:
        self.answer("302 Found", b"", f"Location: http://localhost:{PORT}/echo?x=1")

    def bad(self, *_: object) -> None:
        self.answer("502 Bad Gateway", b'{"mine": true}', "Content-Type: application/json")

    def garbage(self, *_: object) -> None:
        self.wfile.write(b"\x00\x01 no http at all\r\n\r\n")

    def slow(self, *_: object) -> None:
        time.sleep(60)

    def stream(self, *_: object) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(1000):
            data = b"data: %d\n\n" % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            time.sleep(0.05)

    def websocket(self, known: dict[str, str]) -> None:
        key = known["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Accept: " + accept]
        if "sec-websocket-protocol" in known:
            lines += ["Sec-WebSocket-Protocol: " + known["sec-websocket-protocol"].split(",")[0]]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode())
        while len(head := self.rfile.read(2)) == 2 and head[0] & 15 in (1, 2):
            mask = self.rfile.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(bytes([head[0], len(text)]) + text[::-1])


PAGE = b"""<!doctype html><title>In the sandbox</title><h1>Hello from the sandbox</h1>
<button onclick="attack()">Attack</button><pre id="said"></pre><script>
async function attack() {
  const said = {};
  const portal = new URLSearchParams(location.search).get("portal");
  const tries = {
    read: () => fetch(portal + "/projects/", { credentials: "include" }).then((answer) => answer.text()),
    post: () => fetch(portal + "/theme/", { method: "POST", mode: "no-cors" }).then((answer) => answer.type),
    socket: () => new Promise((done) => {
      const socket = new WebSocket(portal.replace("http", "ws") + "/ws/");
      socket.onmessage = () => done("open");
      socket.onclose = (event) => done("closed " + event.code);
    }),
    cookie: () => ((document.cookie = "sessionid=evil; domain=localhost"), document.cookie),
    frame: () => new Promise((done) => {
      const frame = document.createElement("iframe");
      frame.src = portal + "/projects/";
      frame.onload = () => { try { done(frame.contentDocument ? "blank" : "other"); } catch { done("other"); } };
      document.body.append(frame);
    }),
    opener: () => String(window.opener),
  };
  for (const [name, act] of Object.entries(tries)) {
    said[name] = await Promise.resolve().then(act).catch(() => "refused");
  }
  document.getElementById("said").textContent = JSON.stringify(said);
}
</script>"""
PORT = 8123

if __name__ == "__main__":
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    socketserver.ThreadingTCPServer(("127.0.0.1", PORT), Handler).serve_forever()
