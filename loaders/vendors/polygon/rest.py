"""Polygon's REST interface by the SDK.

The SDK turns failures into short results: an undecodable page ends the iteration, a body without `results` is empty,
and its models make None of what is missing. It takes a JSON decoder of the caller's, so ours refuses the first two and
keeps the results as they came. What the SDK does over HTTP is put right in `_sdk`.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, cast

import urllib3
from polygon import RESTClient
from polygon.exceptions import BadResponse

from loaders.client import http
from loaders.client.base import Notes, UnknownFormat
from loaders.client.rate_limit import RequestBudget
from loaders.client.refusals import Refused
from loaders.client.schema import instant
from loaders.vendors.polygon.formats import ENVELOPE
from warehouse.errors import Retry, Skip, Stop

# of one question: thirty days have 43,200 minutes, and a page may hold few of them
MOST_RESULTS, MOST_PAGES = 100_000, 1_000


class RestApi:
    """Requests within a budget, whose results are kept as they came, and whose failures are the product's errors."""

    def __init__(self, key: str, base_url: str, budget: RequestBudget, notes: Notes) -> None:
        self._key = key
        self._budget = budget
        self._json = _StrictJson(key, notes)
        self._answer: urllib3.BaseHTTPResponse | None = None
        self._api = self._sdk(base_url)

    def now(self) -> datetime:
        self._json.expect()
        try:
            self._ask(self._api.get_market_status, "the time")
            return http.present(instant(cast("dict[str, str]", self._json.answer)["serverTime"]))
        except (KeyError, TypeError, ValueError):
            raise UnknownFormat("Polygon told its time in an unknown format: serverTime", self._json.answer) from None

    def results(
        self, about: str, request: Callable[[RESTClient], Iterable[Any]], bars_of: str | None = None
    ) -> list[Any]:
        """The results of all pages. The SDK follows the pages; the results are taken before it sees them.

        `bars_of` is the ticker whose unadjusted bars the results have to be, None where they are none.
        """
        results = self._json.expect(about, bars_of)
        self._ask(lambda: list(request(self._api)), about)
        return results

    def result(self, about: str, request: Callable[[RESTClient], urllib3.BaseHTTPResponse]) -> dict[str, Any]:
        """The one result of an answer that has no pages; the SDK is asked for its raw answer."""
        self._json.expect()
        answer = self._ask(lambda: self._json.loads(request(self._api).data.decode(errors="replace")), about)
        found = cast("dict[str, Any]", answer).get("results")
        if not isinstance(found, dict):
            raise UnknownFormat(f"Polygon sent no result about {about}", answer)
        return found

    def _ask(self, request: Callable[[], object], about: str) -> object:
        """Run one SDK call and turn what can go wrong into the product's three errors."""
        try:
            return request()
        except BadResponse:
            if self._answer is None:
                raise
            error = self._refusal(self._answer, about)
        except urllib3.exceptions.HTTPError as failure:
            raise _unreachable(failure) from None
        if isinstance(error, Retry) and error.after:
            self._budget.close(error.after)
        raise error

    def _refusal(self, response: urllib3.BaseHTTPResponse, about: str) -> Exception:
        wait = http.seconds_to_wait(response.headers, otherwise=0.0) or None
        if response.status == 429:
            return Retry(
                "Polygon's rate limit is reached (HTTP 429): set POLYGON_REQUESTS_A_MINUTE to what your plan allows",
                wait,
            )
        if response.status >= 500:
            return Retry(f"Polygon failed (HTTP {response.status})", wait)
        return _from_body(response.data.decode(errors="replace"), self._key, about, response.status)

    def _sdk(self, base_url: str) -> RESTClient:
        """The SDK's client with what it does over HTTP put right."""
        client = RESTClient(self._key, base=base_url, custom_json=self._json)
        pool = client.client
        # the SDK stores its timeouts and never hands them to its connection pool; it tries again by itself, where
        # the budget cannot count and a Retry-After of minutes cannot be told; a redirect would carry the key along
        timeout = urllib3.Timeout(connect=http.TIMEOUT_S[0], read=http.TIMEOUT_S[1])
        no_retries = urllib3.Retry(0, raise_on_status=False)
        pool.connection_pool_kw.update(timeout=timeout, retries=no_retries)
        send = pool.urlopen

        def within_budget(method: str, url: str, *arguments: object, **options: object) -> urllib3.BaseHTTPResponse:
            # the SDK glues the vendor's `next_url` to the address: what it says must not become part of the host
            if not url.startswith(f"{base_url}/"):
                raise UnknownFormat("Polygon's next page is at another address: no key was sent there", None)
            self._budget.take()
            # the SDK's exception keeps neither status nor headers
            self._answer = send(method, url, *arguments, **options)
            return self._answer

        pool.urlopen = within_budget
        return client


class _StrictJson:
    """The SDK's `custom_json`: numbers as decimals, no answer passes for an empty one, and no result for an object."""

    def __init__(self, secret: str, notes: Notes) -> None:
        self._secret = secret
        self._notes = notes
        self.expect()

    def expect(self, about: str | None = None, bars_of: str | None = None) -> list[Any]:
        """Where the results of the next answer will be gathered; about nothing it is only decoded, and kept."""
        self._about = about
        self._bars_of = bars_of
        self.answer: object = None
        self._gathered: list[Any] = []
        self._next_urls: set[str] = set()
        return self._gathered

    def loads(self, body: str) -> object:
        try:
            answer = http.decoded(body)
        except ValueError:
            raise Retry("Polygon sent an answer that is not complete JSON: a page was cut off") from None
        if not isinstance(answer, dict):
            raise UnknownFormat("Polygon sent an answer that has no fields", answer)
        if not answer:
            raise Retry("Polygon sent an empty answer")
        if answer.get("status", "OK") not in ("OK", "DELAYED"):
            raise _from_body(body, self._secret, self._about or "")
        if self._about is None:
            self.answer = answer
            return answer
        if self._bars_of is not None:
            _check_question(answer, self._bars_of)
        self._gathered.extend(self._results(answer))
        self._check_end(answer.get("next_url"))
        # the SDK need not make objects of them, nor keep them
        return {**answer, "results": []}

    def _results(self, answer: dict[str, Any]) -> list[Any]:
        added = sorted(answer.keys() - ENVELOPE)
        for name in added:
            self._notes.add(f"Polygon sends an unknown field {name!r} in its answers: it is not read")
        if "results" not in answer:
            if answer.get("resultsCount") == 0:
                return []
            if added:
                raise UnknownFormat(f"Polygon sent {added[0]!r} and no results about {self._about}", answer)
            raise Retry(f"Polygon announced {answer.get('resultsCount', 'no')} results and sent none")
        if not isinstance(answer["results"], list) or not isinstance(answer.get("next_url", ""), str):
            raise UnknownFormat(f"Polygon sent no list of results, or no next_url, about {self._about}", answer)
        announced, sent = answer.get("resultsCount"), len(answer["results"])
        # of this page, or of all pages: the documentation leaves it open
        if announced not in (None, sent, sent + len(self._gathered)) and not answer.get("next_url"):
            raise Retry(f"Polygon announced {announced} results about {self._about} and sent {sent}")
        return answer["results"]

    def _check_end(self, next_url: str | None) -> None:
        """Raises Retry for pages that lead back to themselves, or to more than any question has."""
        if next_url is None:
            return
        if next_url in self._next_urls:
            raise Retry(f"Polygon's pages about {self._about} do not end: one names a page that was read as the next")
        self._next_urls.add(next_url)
        if len(self._gathered) > MOST_RESULTS or len(self._next_urls) > MOST_PAGES:
            raise Retry(
                f"Polygon's pages about {self._about} do not end: {len(self._gathered):,} results on"
                f" {len(self._next_urls):,} pages, and more were to come"
            )


def _check_question(answer: dict[str, Any], ticker: str) -> None:
    """Raises Retry for the answer to a question about another ticker, UnknownFormat for adjusted bars.

    The vendor repeats the question in an answer; one that leaves it out says nothing else.
    """
    told = answer.get("ticker")
    if told not in (None, ticker):
        raise Retry(f"Polygon answered for another ticker: {http.one_line(told)} instead of {ticker}")
    if answer.get("adjusted") not in (None, False):
        raise UnknownFormat(f"Polygon sent adjusted bars of {ticker}: unadjusted ones were asked for", answer, ticker)


def _from_body(body: str, secret: str, about: str, http_status: int = 200) -> Exception:
    """What a refusal says of itself, on HTTP 4xx and sometimes on 200. A plan may have one symbol and not another."""
    try:
        answer = http.decoded(body)
    except ValueError:
        return Retry("Polygon answered with an error page instead of JSON")
    told = answer if isinstance(answer, dict) else {}
    words = http.one_line(told.get("error") or told.get("message") or body, secret)
    status = told.get("status")
    if http_status == 401 or "api key" in words.lower():
        return Stop(f"Polygon refused POLYGON_API_KEY: {words}")
    if status == "NOT_AUTHORIZED":
        return Refused(f"your Polygon plan does not include {about}: {words}", words)
    if "maximum requests" in words:
        return Retry(f"Polygon's rate limit is reached: {words}")
    if status == "NOT_FOUND":
        return Skip(f"Polygon does not know {about}: {words}")
    return Refused(f"Polygon refused the request for {about}: {words}", words)


def _unreachable(error: urllib3.exceptions.HTTPError) -> Retry:
    """No answer came. The exception's own text is left out: it holds the URL."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, urllib3.exceptions.ResponseError):
        return Retry("Polygon redirected the request to another address: check POLYGON_BASE_URL")
    # a refused connection is a kind of timeout to urllib3
    is_refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not is_refused:
        return Retry("Polygon did not answer in time")
    return Retry("Polygon could not be reached: connection refused or lost")
