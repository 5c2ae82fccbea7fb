"""Number words, dates and times of day, English to French, from tables and a teacher for numbers.

The teacher is the package num2words. It is needed to make data and to train, never to translate.
"""

import datetime
from functools import cache
from random import Random

MONTHS = {
    "January": "janvier", "February": "février", "March": "mars", "April": "avril", "May": "mai",
    "June": "juin", "July": "juillet", "August": "août", "September": "septembre",
    "October": "octobre", "November": "novembre", "December": "décembre",
}  # fmt: skip
WEEKDAYS = {
    "Monday": "lundi", "Tuesday": "mardi", "Wednesday": "mercredi", "Thursday": "jeudi",
    "Friday": "vendredi", "Saturday": "samedi", "Sunday": "dimanche",
}  # fmt: skip
FIRST_DAY = datetime.date(1900, 1, 1)
LAST_DAY = datetime.date(2099, 12, 31)

# What takes place on a date, and what happens at a time of day; {} is the date or the time.
_DATED = (
    ("{}", "{}"),
    ("The concert is on {}.", "Le concert a lieu le {}."),
    ("The exam is on {}.", "L'examen a lieu le {}."),
    ("The wedding is on {}.", "Le mariage a lieu le {}."),
    ("The school opens on {}.", "L'école ouvre le {}."),
    ("My holiday begins on {}.", "Mes vacances commencent le {}."),
    ("She was born on {}.", "Elle est née le {}."),
    ("He was born on {}.", "Il est né le {}."),
    ("We arrive on {}.", "Nous arrivons le {}."),
)
_TIMED = (
    ("The train leaves at {}.", "Le train part à {}."),
    ("The bus arrives at {}.", "Le bus arrive à {}."),
    ("The film starts at {}.", "Le film commence à {}."),
    ("The meeting ends at {}.", "La réunion finit à {}."),
    ("The shop opens at {}.", "Le magasin ouvre à {}."),
    ("The museum closes at {}.", "Le musée ferme à {}."),
    ("We eat at {}.", "Nous mangeons à {}."),
    ("She gets up at {}.", "Elle se lève à {}."),
    ("They go home at {}.", "Ils rentrent à {}."),
    ("It is {}.", "Il est {}."),
)
# With the hours that it has; twelve is noon or midnight.
_PARTS_OF_DAY = (
    ("in the morning", "du matin", range(1, 11)),
    ("in the afternoon", "de l'après-midi", range(1, 6)),
    ("in the evening", "du soir", range(6, 11)),
)


@cache
def number_words(number: int, language: str) -> str:
    """The number in words, ``language`` "en" or "fr": 421 is "quatre cent vingt et un".

    Raises:
        ImportError: num2words is not installed (``pip install num2words``).
    """
    from num2words import num2words

    return num2words(number, lang=language)


def number_pair(random: Random) -> tuple[str, str]:
    """Number words from 0 to 999,999; as many short numbers as long ones."""
    number = random.randrange(10 ** random.choice((3, 4, 5, 6, 6)))
    return number_words(number, "en"), number_words(number, "fr")


def date_pair(random: Random) -> tuple[str, str]:
    """A date in one of three English forms, alone or in a sentence."""
    n_days = (LAST_DAY - FIRST_DAY).days + 1
    date = FIRST_DAY + datetime.timedelta(days=random.randrange(n_days))
    month, month_fr = list(MONTHS.items())[date.month - 1]
    weekday, weekday_fr = list(WEEKDAYS.items())[date.weekday()]
    day_fr = "1er" if date.day == 1 else str(date.day)  # only the first is an ordinal in French
    english, french = random.choice(_DATED)
    date_fr = f"{day_fr} {month_fr} {date.year}"
    form = random.choice((f"{month} {date.day}, {date.year}", f"{date.day} {month} {date.year}"))
    if random.random() < 0.5:
        form, date_fr = f"{weekday}, {form}", f"{weekday_fr} {date_fr}"
    return english.format(form), french.format(date_fr)


def time_pair(random: Random) -> tuple[str, str]:
    """A time of day: in words to five minutes, or as 3:47 p.m., which French counts to 24."""
    english, french = random.choice(_TIMED)
    time, time_fr = random.choice((_clock_in_words, _clock_in_digits))(random)
    return english.format(time), french.format(time_fr)


def _clock_in_digits(random: Random) -> tuple[str, str]:
    hour, minute = random.randrange(24), random.randrange(60)
    half = "a.m" if hour < 12 else "p.m"  # the sentence's full stop is the last one
    return f"{hour % 12 or 12}:{minute:02d} {half}", f"{hour} h {minute:02d}"


def _clock_in_words(random: Random) -> tuple[str, str]:
    if random.random() < 0.04:
        return random.choice((("noon", "midi"), ("midnight", "minuit")))
    part, part_fr, hours = random.choice(_PARTS_OF_DAY)
    hour, minute = random.choice(hours), random.randrange(0, 60, 5)
    if minute == 0:
        time, time_fr = f"{number_words(hour, 'en')} o'clock", _hours(hour)
    elif minute == 30:
        time, time_fr = f"half past {number_words(hour, 'en')}", f"{_hours(hour)} et demie"
    elif minute < 30:
        how_much, how_much_fr = _minutes(minute, "et quart")
        time = f"{how_much} past {number_words(hour, 'en')}"
        time_fr = f"{_hours(hour)} {how_much_fr}"
    else:
        how_much, how_much_fr = _minutes(60 - minute, "le quart")
        time = f"{how_much} to {number_words(hour + 1, 'en')}"
        time_fr = f"{_hours(hour + 1)} moins {how_much_fr}"
    return f"{time} {part}", f"{time_fr} {part_fr}"


def _hours(hour: int) -> str:
    return "une heure" if hour == 1 else f"{number_words(hour, 'fr')} heures"


def _minutes(minute: int, quarter_fr: str) -> tuple[str, str]:
    if minute == 15:
        return "a quarter", quarter_fr
    return number_words(minute, "en"), number_words(minute, "fr")
