import assert from 'node:assert/strict'
import { test } from 'node:test'
import { result } from './fixture.ts'

function expect(table: Record<string, string>): void {
  for (const [source, wanted] of Object.entries(table)) {
    assert.equal(result(source), wanted, source)
  }
}

test('strings are counted and cut by characters, not by UTF-16 units', () => {
  expect({
    'size("a😀b")': '3',
    '"a😀b".substring(1, 2)': '"😀"',
    '"a😀b".charAt(2)': '"b"',
    '"a😀b".indexOf("b")': '2',
    '"a😀b".lastIndexOf("a", 2)': '0',
    '"a😀b".split("")': '["a", "😀", "b"]',
    '"abc".substring(4)': 'error: index out of range: 4',
    '"abc".substring(2, 1)': 'error: invalid substring range. start: 2, end: 1',
    '"abc".charAt(3)': '""',
  })
})

test('the string functions agree with those of Go', () => {
  expect({
    '"a,b,c".split(",", 2)': '["a", "b,c"]',
    '"a,b,c".split(",", 0)': '[]',
    '"aaa".replace("a", "b", 2)': '"bba"',
    '"ab".replace("", "-")': '"-a-b-"',
    '"ab".replace("", "-", 1)': '"-ab"',
    '" \\t a b\\u00a0".trim()': '"a b"',
    '"".trim() + "  ".trim()': '""',
    '"HÉllo".lowerAscii() + "hé".upperAscii()': '"hÉlloHé"',
    '["a", "b"].join("-") + ["c"].join()': '"a-bc"',
    '"banana".indexOf("na", 3) + "banana".lastIndexOf("na")': '8',
    'strings.quote("a\\"\\n")': '"\\"a\\\\\\"\\\\n\\""',
    '"%s is %d, %.2f, %x, %b, %o, %%".format(["a", 10, 1.0, 255, true, 8])':
      '"a is 10, 1.00, ff, 1, 10, %"',
    '"%s %e".format([[1, null, {"k": 1.5}], 1234.5])': '"[1, null, {k: 1.5}] 1.234500e+03"'.replace(
      '1, null, {k: 1.5}',
      '1, null, {k: 1.5}',
    ),
    '"%d".format(["a"])': 'error: error during formatting: %d does not take values of string',
    '"%s".format([])': 'error: index 0 out of range',
    '"%.999999999f".format([1.0])': 'error: precision 999999999 is over 100',
  })
})

test('regular expressions have the syntax of RE2 and take linear time', () => {
  const backtracking = `"${'a'.repeat(2000)}b".matches("^(a+)+$")`
  const startedMs = performance.now()
  expect({ [backtracking]: 'false' })
  assert.ok(performance.now() - startedMs < 1000)
  expect({
    '"Foo".matches("(?i)^foo$")': 'true',
    '"xfoox".matches("fo+")': 'true',
    'matches("a1", "[[:alpha:]]\\\\d\\\\z")': 'true',
    '"a1b22".find("[0-9]+") + "x".find("y")': '"1"',
    '"a1b22c3".findAll("[0-9]+", 2)': '["1", "22"]',
    '"a".matches("(?=a)")': 'compile: 1:13: invalid matches argument',
    '"a".matches("(" + "")': 'error: error parsing regexp: missing closing ): `(`',
  })
})

test('durations and timestamps are exact to the nanosecond', () => {
  expect({
    'duration("1h30m5.5s")': '5405.5s',
    'duration("-1.5ms")': '-0.0015s',
    'duration("90m").getHours()': '1',
    'duration("1s") + duration("1ns")': '1.000000001s',
    'duration("1h") > duration("59m") && duration("0") == duration("0s")': 'true',
    'duration("1d")': 'compile: 1:10: invalid duration argument',
    'duration("1" + "d")': 'error: invalid duration "1d"',
    'duration("999999999h") == duration("1s")': 'compile: 1:10: invalid duration argument',
    'timestamp("2024-02-29T23:30:00.25+01:00")': '2024-02-29T22:30:00.25Z',
    'timestamp("2024-03-01T00:00:00Z") - timestamp("2024-02-29T00:00:00Z")': '86400s',
    'timestamp("2024-02-29T23:30:00Z").getDayOfYear()': '59',
    'timestamp("2024-02-29T23:30:00Z").getDate("+01:00")': '1',
    'timestamp("2024-07-01T12:00:00Z").getHours("Europe/Berlin")': '14',
    'timestamp("2024-07-01T12:00:00Z").getHours("Nowhere/X")': 'error: unknown time zone Nowhere/X',
    'int(timestamp("1970-01-01T00:00:01.9Z"))': '1',
    'timestamp("9999-12-31T23:59:59Z") + duration("2s")': 'error: timestamp overflow',
    'string(duration("1m"))': '"60s"',
  })
})

test('conversions refuse what does not fit', () => {
  expect({
    'int("42") + int(2.9) + int(3u)': '47',
    'int("4x")': "error: type conversion error from 'string' to 'int': \"4x\"",
    'int(1e300)': 'error: integer overflow',
    'uint(-1)': 'error: unsigned integer overflow',
    'double("1.5") + double(1)': '2.5',
    'string(1.5) + string(true) + string(b"abc") + string(1e300)': '"1.5trueabc1e+300"',
    'string(b"\\xff")': 'error: invalid UTF-8 in bytes, cannot convert to string',
    'bool("true") && !bool("0")': 'true',
    'type(1) == int && type([]) == list && type(type(1)) == type': 'true',
    'type(duration("1s")) == google.protobuf.Duration': 'true',
  })
})

test('lists can be summed, ordered and searched; sets compared', () => {
  expect({
    '[1, 2, 3].sum() + [3, 1].min() + [3, 1].max()': '10',
    '[duration("1s"), duration("2s")].sum()': '3s',
    '[1.5].sum()': '1.5',
    '[].min()': 'error: min called on empty list',
    '[1, 2, 2].isSorted() && !["b", "a"].isSorted()': 'true',
    '["a", "b", "a"].indexOf("a") + ["a", "b", "a"].lastIndexOf("a")': '2',
    '["a"].indexOf("x")': '-1',
    'sets.contains([1, 2], [2]) && !sets.contains([1], [2])': 'true',
    'sets.equivalent([1, 2, 2], [2, 1]) && sets.intersects([1], [1, 2])': 'true',
    '["a"] + ["b"] == ["a", "b"] && "a" in ["a"] && "k" in {"k": 1}': 'true',
  })
})

test('IP addresses and CIDR blocks are as strict as in Kubernetes', () => {
  expect({
    'isIP("10.0.0.1") && isIP("fd00::1")': 'true',
    'isIP("10.0.0.01") || isIP("::ffff:1.2.3.4") || isIP("fe80::1%eth0") || isIP("")': 'false',
    'ip("::1").isLoopback() && ip("127.1.2.3").isLoopback()': 'true',
    'ip("169.254.1.1").isLinkLocalUnicast() && ip("224.0.0.1").isLinkLocalMulticast()': 'true',
    'ip("10.0.0.1").isGlobalUnicast() && ip("0.0.0.0").isUnspecified()': 'true',
    'ip("10.0.0.1").family() + ip("::1").family()': '10',
    'ip.isCanonical("::1") && !ip.isCanonical("0:0::1")': 'true',
    'ip("x")': 'error: IP Address "x" parse error',
    'cidr("10.1.2.3/8").masked() == cidr("10.0.0.0/8")': 'true',
    'string(cidr("10.1.2.3/20").masked())': '"10.1.0.0/20"',
    'cidr("10.0.0.0/8").containsIP("10.255.0.1")': 'true',
    'cidr("10.0.0.0/8").containsCIDR(cidr("10.0.0.0/16"))': 'true',
    'cidr("10.0.0.0/16").containsCIDR("10.0.0.0/8")': 'false',
    'cidr("fd00::/8").prefixLength()': '8',
    'string(cidr("10.1.0.0/16").ip())': '"10.1.0.0"',
    'isCIDR("10.0.0.0/33") || isCIDR("10.0.0.0") || isCIDR("10.0.0.0/08")': 'false',
  })
})

test('URLs are what Go takes for absolute ones', () => {
  const valid = [
    'https://a.b/c',
    '/path',
    'foo:bar',
    'HTTP://x',
    'http://[::1]:80/',
    'oci://x',
    '*',
  ]
  const invalid = ['', 'a/b', 'foo.com', 'http://a b', 'http://a:b', ':x', 'http://a/%zz', '1a://x']
  for (const text of valid) assert.equal(result(`isURL(${JSON.stringify(text)})`), 'true', text)
  for (const text of invalid) assert.equal(result(`isURL(${JSON.stringify(text)})`), 'false', text)
  expect({
    'url("HTTPS://u:p@h.example:8443/a%20b?x=1&x=2&y#f").getScheme()': '"https"',
    'url("https://u:p@h.example:8443/").getHost()': '"h.example:8443"',
    'url("https://[::1]:8443/").getHostname()': '"::1"',
    'url("https://h:8443").getPort() + url("https://h").getPort()': '"8443"',
    'url("https://h/a%20b c#f").getEscapedPath()': '"/a%20b%20c"',
    'url("https://h?x=1&x=2&y&z=%zz").getQuery()': '{"x": ["1", "2"], "y": [""]}',
    'url("foo.com")':
      'error: URL parse error during conversion from string: parse "foo.com": invalid URI for request',
    'url("http://a^b").getHost()':
      'error: URL parse error during conversion from string: parse "http://a^b": invalid character "^" in host name',
  })
})
