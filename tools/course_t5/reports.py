"""Generated reports, each with its one-line summary: weather, football matches, timetables.

Every fact of the summary stands in the report, in one of several wordings and in any order, among
sentences that the summary leaves out.
"""

from random import Random

CITIES = (
    "Lyon", "Paris", "Nantes", "Lille", "Bordeaux", "Toulouse", "Nice", "Rennes", "Metz", "Dijon",
    "Berlin", "Madrid", "Rome", "Vienna", "Oslo", "Geneva", "Lisbon", "Dublin", "Prague", "Athens",
    "London", "Leeds", "Boston", "Denver", "Tokyo", "Seoul", "Hong Kong", "Sydney", "Cairo", "Lima",
)  # fmt: skip
PEOPLE = (
    "Martin", "Silva", "Jones", "Weber", "Rossi", "Chan", "Kim", "Novak", "Garcia", "Dubois",
    "Olsen", "Khan", "Moreau", "Costa", "Evans", "Tanaka",
)  # fmt: skip
# What the summary calls the sky: how a report may put it, and the temperatures it goes with.
SKIES = {
    "sun": (("The sky stays clear all day.", "The sun shines until the evening."), -5, 40),
    "clouds": (("Grey clouds cover the sky.", "It stays cloudy but dry."), -5, 30),
    "rain": (("Rain falls in the afternoon.", "It rains, so take an umbrella."), 2, 30),
    "snow": (("Snow falls in the streets.", "It snows until the evening."), -15, 3),
    "fog": (("Thick fog hides the river.", "Fog makes the roads dangerous."), -5, 20),
    "storms": (("Storms with thunder cross the region.", "There is lightning."), 15, 36),
}
WINDS = ("light", "fresh", "strong")
DIRECTIONS = ("north", "south", "east", "west")
CAUSES = ("work on the line", "a broken signal", "snow on the track", "a fallen tree", "a strike")

_WEATHER_FILLERS = (
    "The night was quiet.", "Last year it was warmer on this day.",
    "The weekend will be different.", "Drivers should take care.",
    "Many people are on holiday.", "The next report follows in the evening.",
)  # fmt: skip
_MATCH_FILLERS = (
    "The referee showed two yellow cards.", "The fans sang until late.",
    "Both coaches praised their teams.", "The pitch was in good order.",
    "It was the last match before the winter break.", "A new goalkeeper stood in the goal.",
)  # fmt: skip
_TIMETABLE_FILLERS = (
    "Tickets stay valid.", "Passengers can wait in the hall.", "The dining car is closed.",
    "We are sorry for the trouble.", "There are free seats in the last coach.",
    "Please keep your bags with you.",
)  # fmt: skip


def weather_pair(random: Random) -> tuple[str, str]:
    """A weather report and its line: place, sky, highest temperature, wind."""
    city, sky = random.choice(CITIES), random.choice(list(SKIES))
    wordings, coldest, warmest = SKIES[sky]
    high = random.randrange(coldest, warmest)
    low = high - random.randrange(2, 12)
    wind, direction = random.choice(WINDS), random.choice(DIRECTIONS)
    first = random.choice((
        f"Here is the weather for {city}.", f"This is today's report from {city}.",
    ))  # fmt: skip
    warmth = random.choice((
        f"The temperature rises from {low} to {high} degrees.",
        f"The night had {low} degrees, but by day we expect {high} degrees.",
        f"It gets no warmer than {high} degrees.",
    ))  # fmt: skip
    air = random.choice((
        f"A {wind} wind blows from the {direction}.",
        f"The wind from the {direction} is {wind}.",
    ))  # fmt: skip
    body = [random.choice(wordings), warmth, air]
    report = _compose(random, first, body, _WEATHER_FILLERS)
    return report, f"{city}: {sky}, {high} degrees, {wind} wind from the {direction}."


def match_pair(random: Random) -> tuple[str, str]:
    """A report of a football match and its line: who beat whom, or that they drew."""
    home, away = random.sample(CITIES, 2)
    goals, goals_away = random.randrange(7), random.randrange(7)
    first = random.choice((
        f"{home} played at home against {away}.",
        f"{random.randrange(2, 80)},000 people saw {home} against {away}.",
    ))  # fmt: skip
    winner, loser = (home, away) if goals > goals_away else (away, home)
    high, low = max(goals, goals_away), min(goals, goals_away)
    if high == low:
        line = f"{home} and {away} drew {high}-{low}."
        score = random.choice((
            f"Nobody won: it ended {high} to {low}.",
            f"After ninety minutes it was a draw, {high} to {low}.",
        ))  # fmt: skip
    else:
        line = f"{winner} beat {loser} {high}-{low}."
        score = random.choice((
            f"{winner} won {high} to {low}.",
            f"After ninety minutes {winner} had won {high} to {low}.",
            f"The final score was {high} to {low} for {winner}.",
        ))  # fmt: skip
    scorer = random.choice((
        f"{random.choice(PEOPLE)} had the first chance in minute {random.randrange(1, 45)}.",
        f"{random.choice(PEOPLE)} left the field in minute {random.randrange(46, 90)}.",
    ))  # fmt: skip
    report = _compose(random, first, [score, scorer], _MATCH_FILLERS)
    return report, line


def timetable_pair(random: Random) -> tuple[str, str]:
    """A notice about a late train and its line: where to, the new time, the old one, platform."""
    city, minute = random.choice(CITIES), random.randrange(5 * 60, 22 * 60)
    usual, new = _clock(minute), _clock(minute + random.randrange(5, 95))
    platform = random.randrange(1, 25)
    first = random.choice((
        f"The train to {city} at {usual} is late because of {random.choice(CAUSES)}.",
        f"Because of {random.choice(CAUSES)} the {usual} train to {city} is late.",
    ))  # fmt: skip
    when = random.choice((f"It now leaves at {new}.", f"The new time is {new}."))
    where = random.choice((
        f"It leaves from platform {platform}.",
        f"It moves to platform {platform}.",
        f"Please go to platform {platform}.",
    ))  # fmt: skip
    report = _compose(random, first, [when, where], _TIMETABLE_FILLERS)
    return report, f"Train to {city}: {new} instead of {usual}, platform {platform}."


def _clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02d}"


def _compose(random: Random, first: str, body: list[str], fillers: tuple[str, ...]) -> str:
    """The first sentence, then the others and often one that says nothing, in any order."""
    rest = [*body, *random.sample(fillers, random.randrange(2))]
    random.shuffle(rest)
    return " ".join([first, *rest])
