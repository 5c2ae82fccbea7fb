"""Prompts that the teacher continues: questions, stories, lists, code, without any real text.

Every topic belongs to one side: about one in ten is held out, with all of its prompts.
"""

import hashlib
from collections.abc import Iterator
from random import Random

TOPICS = """gravity|the moon|photosynthesis|volcanoes|rainbows|the water cycle|electricity|magnets
sound waves|the human heart|the brain|vaccines|vitamins|sleep|dreams|exercise|a balanced diet|bees
ants|whales|dolphins|elephants|penguins|owls|wolves|cats|dogs|horses|dinosaurs|the rainforest
deserts|the ocean|coral reefs|earthquakes|climate change|solar energy|wind turbines|recycling
plastic|steel|glass|paper|the printing press|the steam engine|the telephone|the internet|computers
robots|artificial intelligence|machine learning|programming|databases|the Roman Empire
ancient Egypt|the Renaissance|the French Revolution|the Industrial Revolution|trade|taxes|teamwork
the Second World War|democracy|human rights|money|inflation|banks|marketing|leadership|poetry
time management|public speaking|learning a language|reading books|writing letters|music|the piano
painting|photography|theatre|films|chess|football|swimming|cycling|hiking|gardening|cooking
baking bread|coffee|tea|chocolate|rice|apples|cheese|Paris|London|New York|Tokyo|India|Brazil
Africa|Antarctica|the planet Mars|black holes|the Sun|comets|telescopes|space travel|satellites
atoms|water|oxygen|carbon|gold|evolution|DNA|cells|viruses|bacteria|mathematics|prime numbers
fractions|geometry|probability|statistics|algebra|friendship|family|happiness|courage|honesty
patience|birthdays|weddings|holidays|travelling by train|aeroplanes|bicycles|electric cars|bridges
castles|museums|libraries|schools|universities|hospitals|farms|forests|rivers|mountains|islands
snow|thunderstorms"""

# Asked about in training only: the held-out prompts stay the same when this list grows.
MORE_TOPICS = """spring|autumn|winter|the seasons|clouds|the wind|fire|ice|salt|sugar|honey
milk|bread|pizza|soup|vegetables|bananas|oranges|potatoes|breakfast|a picnic|camping|fishing
sailing|tennis|basketball|running|yoga|dancing|singing|the guitar|the violin|jazz|opera
photographs|comics|novels|fairy tales|Shakespeare|grammar|spelling|maps|the compass|clocks
calendars|shoes|clothes|wool|cotton|silk|furniture|houses|cities|villages|roads|traffic|cars
ships|submarines|rockets|lasers|batteries|light bulbs|mirrors|lenses|microscopes|medicine|teeth
the eye|bones|muscles|blood|the lungs|memory|stress|anger|kindness|teachers|homework|exams|jobs
a job interview|saving money|shopping|insurance|elections|laws|the police|newspapers|television
advertising|the ancient Greeks|the Vikings|pirates|knights|China|Japan|Mexico|Canada|Italy
Egypt|Australia|the Amazon|the Alps|the Moon landing|Albert Einstein|Isaac Newton|Marie Curie
Leonardo da Vinci|frogs|snakes|spiders|butterflies|sharks|bears|lions|chickens|cows|trees
flowers|mushrooms|grass|fungi|fossils|rocks|diamonds|sand|caves"""

ASKED = """What is {t}?|Explain {t} to a child.|Explain {t} in simple terms.|Tell me about {t}.
Why is {t} important?|Write a short paragraph about {t}.|Give me three facts about {t}.
List five things to know about {t}.|What are the advantages and disadvantages of {t}?
Write a short poem about {t}.|Write a short story about {t}.|How would you describe {t}?
What should a beginner know about {t}?|Write an introduction to an essay about {t}.
Give me some tips about {t}.|Summarise the history of {t}.|Ask me four questions about {t}.
How is {t} connected to water?|Write an email to a friend about {t}.|What is good about {t}?"""

BEGUN = r"""Once upon a time, there was a {w} who|The {w} looked at {t} and|{T} is one of the
In this article, we discuss {t}.|The history of {t} began|The {w} said: "I love
Here is a list of facts about {t}:\n\n1.|It was a dark night, and the {w}|Chapter 1: {T}\n\n
Dear friend,\n\nI am writing to you about {t}.|Question: What is {t}?\nAnswer:
There are many reasons to like {t}. First,|My favourite subject is {t} because"""

WHO = """girl|boy|king|queen|dragon|fox|rabbit|farmer|teacher|doctor|sailor|robot|wizard|mouse
bear|baker|painter|soldier|grandmother|shepherd|detective|pilot|scientist|musician"""

TASKS = """adds two numbers|reverses a string|counts the words in a text|sorts a list
finds the largest number in a list|checks whether a number is prime|computes the factorial of n
reads a file line by line|removes duplicates from a list|converts Celsius to Fahrenheit
checks whether a word is a palindrome|computes the average of a list|counts the vowels in a text
finds the common elements of two lists|computes the Fibonacci numbers|merges two dictionaries
flattens a nested list|rolls two dice|computes the area of a circle|checks a password
finds the longest word in a sentence|prints a multiplication table
counts how often each letter occurs|rotates a list by k places"""


def pieces(text: str) -> list[str]:
    """The parts of one of the lists above; a written backslash and n are a line break in a part."""
    return [part.replace("\\n", "\n") for part in text.replace("\n", "|").split("|")]


def is_held_out(topic: str) -> bool:
    """Whether no training text may be about this topic."""
    return hashlib.sha256(topic.encode()).digest()[0] % 10 == 0


def prompts(seed: str, held_out: bool) -> Iterator[tuple[str, bool]]:
    """Endless (text, whether it is a message of a chat), about topics of one side."""
    random = Random(f"draft {seed} {held_out}")
    topics = [t for t in pieces(TOPICS) if is_held_out(t) == held_out]
    topics += [] if held_out else pieces(MORE_TOPICS)
    tasks = [t for t in pieces(TASKS) if is_held_out(t) == held_out]
    while True:
        kind, topic, task = random.random(), random.choice(topics), random.choice(tasks)
        if kind < 0.6:
            yield random.choice(pieces(ASKED)).format(t=topic), True
        elif kind < 0.7:
            yield f"Write a Python function that {task}.", True
        elif kind < 0.75:
            yield f"def {'_'.join(task.split()[:3])}(", False
        else:
            names = {"t": topic, "T": topic[0].upper() + topic[1:], "w": random.choice(pieces(WHO))}
            yield random.choice(pieces(BEGUN)).format(**names), False
