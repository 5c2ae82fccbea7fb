"""A small grammar of English sentences with their French translation, agreement included.

    sentence = [Does] subject [does not] verb article [adjective] noun [where or when]

French changes more than English does: the verb with its subject, article and adjective with the
noun's gender and number; le, je, ne and de lose their vowel before another one; an adjective
stands before or behind the noun; "a cat" becomes "de chat" behind a negation.
"""

from dataclasses import dataclass
from random import Random

from .numbers_dates import number_words


@dataclass(frozen=True)
class Noun:
    """A noun in both languages, singular and plural."""

    english: str
    english_plural: str
    french: str
    french_plural: str
    feminine: bool


@dataclass(frozen=True)
class Adjective:
    """An adjective; ``masculine_vowel`` is the form before a vowel (un bel arbre)."""

    english: str
    masculine: str
    feminine: str
    masculine_plural: str
    before: bool
    masculine_vowel: str

    def form(self, noun: Noun, plural: bool) -> str:
        """The form that agrees with the noun."""
        if noun.feminine:
            return self.feminine + "s" * plural
        if plural:
            return self.masculine_plural
        starts_with_vowel = self.before and _starts_with_vowel(noun.french)
        return self.masculine_vowel if starts_with_vowel else self.masculine


def _noun(line: str) -> Noun:
    english, french, gender, *plurals = line.split()
    plural = {word.split(":")[0]: word.split(":")[1] for word in plurals}
    return Noun(
        english, plural.get("en", english + "s"), french, plural.get("fr", french + "s"),
        feminine=gender == "f",
    )  # fmt: skip


NOUNS = tuple(
    _noun(line)
    for line in (
        "cat chat m", "dog chien m", "house maison f", "car voiture f", "book livre m",
        "table table f", "chair chaise f", "tree arbre m", "apple pomme f", "orange orange f",
        "umbrella parapluie m", "boat bateau m fr:bateaux", "bird oiseau m fr:oiseaux",
        "flower fleur f", "key clé f", "letter lettre f", "lamp lampe f",
        "coat manteau m fr:manteaux", "hat chapeau m fr:chapeaux", "shirt chemise f", "bag sac m",
        "bike vélo m", "horse cheval m fr:chevaux", "map carte f", "cup tasse f",
        "clock horloge f", "egg œuf m", "ticket billet m", "school école f", "train train m",
        "knife couteau m en:knives fr:couteaux", "box boîte f en:boxes",
    )
)  # fmt: skip
ADJECTIVES = (
    Adjective("big", "grand", "grande", "grands", True, "grand"),
    Adjective("small", "petit", "petite", "petits", True, "petit"),
    Adjective("new", "nouveau", "nouvelle", "nouveaux", True, "nouvel"),
    Adjective("old", "vieux", "vieille", "vieux", True, "vieil"),
    Adjective("beautiful", "beau", "belle", "beaux", True, "bel"),
    Adjective("red", "rouge", "rouge", "rouges", False, "rouge"),
    Adjective("blue", "bleu", "bleue", "bleus", False, "bleu"),
    Adjective("green", "vert", "verte", "verts", False, "vert"),
    Adjective("white", "blanc", "blanche", "blancs", False, "blanc"),
    Adjective("black", "noir", "noire", "noirs", False, "noir"),
    Adjective("heavy", "lourd", "lourde", "lourds", False, "lourd"),
    Adjective("expensive", "cher", "chère", "chers", False, "cher"),
)
# English, French, and which of the verb's five forms below goes with it.
SUBJECTS = (
    ("I", "je", 0), ("he", "il", 1), ("she", "elle", 1), ("we", "nous", 2), ("you", "vous", 3),
    ("they", "ils", 4), ("the teacher", "le professeur", 1), ("my sister", "ma sœur", 1),
    ("my brother", "mon frère", 1), ("the child", "l'enfant", 1), ("the doctor", "le médecin", 1),
    ("my parents", "mes parents", 4), ("the children", "les enfants", 4),
    ("our friends", "nos amis", 4),
)  # fmt: skip
# English without and with s; je, il, nous, vous, ils.
VERBS = (
    ("see", "sees", "vois voit voyons voyez voient"),
    ("buy", "buys", "achète achète achetons achetez achètent"),
    ("sell", "sells", "vends vend vendons vendez vendent"),
    ("want", "wants", "veux veut voulons voulez veulent"),
    ("have", "has", "ai a avons avez ont"),
    ("find", "finds", "trouve trouve trouvons trouvez trouvent"),
    ("look for", "looks for", "cherche cherche cherchons cherchez cherchent"),
    ("draw", "draws", "dessine dessine dessinons dessinez dessinent"),
    ("choose", "chooses", "choisis choisit choisissons choisissez choisissent"),
    ("keep", "keeps", "garde garde gardons gardez gardent"),
    ("lose", "loses", "perds perd perdons perdez perdent"),
    ("take", "takes", "prends prend prenons prenez prennent"),
)
CIRCUMSTANCES = (
    ("", ""), ("", ""), ("", ""),
    ("today", "aujourd'hui"), ("now", "maintenant"), ("every day", "tous les jours"),
    ("this morning", "ce matin"), ("in the evening", "le soir"),
    ("in the garden", "dans le jardin"), ("at the market", "au marché"),
    ("near the station", "près de la gare"), ("in Paris", "à Paris"),
    ("in the kitchen", "dans la cuisine"),
)  # fmt: skip
# English, then French masculine, feminine, masculine before a vowel, feminine before a vowel.
_SINGULAR = (
    ("the", "le ", "la ", "l'", "l'"),
    ("a", "un ", "une ", "un ", "une "),
    ("my", "mon ", "ma ", "mon ", "mon "),
    ("this", "ce ", "cette ", "cet ", "cette "),
    ("our", "notre ", "notre ", "notre ", "notre "),
)
_PLURAL = (("the", "les "), ("my", "mes "), ("these", "ces "), ("our", "nos "))


def sentence_pair(random: Random) -> tuple[str, str]:
    """A statement, a negation or a question, in English and French."""
    english, french, person = random.choice(SUBJECTS)
    verb, verb_s, forms = random.choice(VERBS)
    verb_fr = forms.split()[person]
    kind = random.choices(("statement", "negation", "question"), (6, 3, 2))[0]
    object_en, object_fr = _object(random, negated=kind == "negation")
    where, where_fr = random.choice(CIRCUMSTANCES)
    auxiliary = "does" if person == 1 else "do"
    if kind == "statement":
        words = f"{english} {verb_s if person == 1 else verb} {object_en} {where}"
        words_fr = f"{_elide(french, verb_fr)}{verb_fr} {object_fr} {where_fr}"
    elif kind == "negation":
        words = f"{english} {auxiliary} not {verb} {object_en} {where}"
        words_fr = f"{french} {_elide('ne', verb_fr)}{verb_fr} pas {object_fr} {where_fr}"
    else:
        words = f"{auxiliary} {english} {verb} {object_en} {where}"
        asked = _elide("est-ce que", french) + _elide(french, verb_fr)
        words_fr = f"{asked}{verb_fr} {object_fr} {where_fr}"
    ends = ("?", " ?") if kind == "question" else (".", ".")  # French: a space before the mark
    return _finish(words) + ends[0], _finish(words_fr) + ends[1]


def _object(random: Random, *, negated: bool) -> tuple[str, str]:
    noun = random.choice(NOUNS)
    adjective = random.choice(ADJECTIVES) if random.random() < 0.55 else None
    plural = random.random() < 0.4
    name = noun.french_plural if plural else noun.french
    if adjective is not None:
        form = adjective.form(noun, plural)
        name = f"{form} {name}" if adjective.before else f"{name} {form}"
    article, article_fr = _article(random, noun, name, plural)
    if negated and article == "a":
        article_fr = _elide("de", name)
    said = (article, adjective.english if adjective else "", _english(noun, plural))
    words = " ".join(word for word in said if word)
    if article == "a" and words[2] in "aeiou":
        words = f"an{words[1:]}"
    return words, article_fr + name


def _english(noun: Noun, plural: bool) -> str:
    return noun.english_plural if plural else noun.english


def _article(random: Random, noun: Noun, name: str, plural: bool) -> tuple[str, str]:
    if not plural:
        english, *forms = random.choice(_SINGULAR)
        return english, forms[2 * _starts_with_vowel(name) + noun.feminine]
    if random.random() < 0.4:
        number = random.randrange(2, 13)
        return number_words(number, "en"), number_words(number, "fr") + " "
    return random.choice(_PLURAL)


def _elide(word: str, following: str) -> str:
    """je, ne, de, que before a vowel: j', n', d', qu'; else the word and a space."""
    elides = word in ("je", "ne", "de") or word.endswith("que")
    return f"{word[:-1]}'" if elides and _starts_with_vowel(following) else f"{word} "


def _starts_with_vowel(word: str) -> bool:
    # A French h is silent; in this vocabulary no noun has the h that forbids the elision.
    return word[0] in "aeiouéèêœh"


def _finish(words: str) -> str:
    words = " ".join(words.split())
    return words[0].upper() + words[1:]
