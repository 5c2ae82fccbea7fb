"""Names, places, dates and things that the generated sentences of several models share."""

from collections.abc import Iterable
from random import Random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

FIRST_NAMES = """Ada Ben Carla David Elena Farid Greta Hugo Irene Jamal Karen Liam Mona Nadia Oscar
Petra Quentin Rosa Samir Tanja Ursula Victor Wendy Yusuf Zoe Anton Berta Clara Dmitri Emma Felix
Gina Henry Ivan Julia Kofi Lucy Marco Nina Otto Paula Ravi Sofia Tom Uma Vera Wei Xenia Yara Bruno
Florence Sydney Austin Jordan Chelsea Georgia Paris Victoria April May June August""".split()  # noqa: SIM905
SURNAMES = """Abbott Becker Costa Dubois Evans Fischer Garcia Haddad Ivanov Jensen Khan Larsen
Moreau Novak Okafor Petrov Quinn Rossi Silva Tanaka Unger Vargas Weber Young Zhang Adams Brown
Clark Diaz Ferrari Gomez Hansen Jones Kim Lopez Meyer Nowak Olsen Park Reyes Sato Turner Walker
London Berlin March""".split()  # noqa: SIM905
PLACES = """Oslo Lima Rome Paris Berlin Madrid Vienna Cairo Delhi Tokyo Seoul Lagos Accra Quito
Dublin Lisbon Prague Warsaw Athens Geneva Bern Milan Naples Porto Seville Lyon Nice Dijon Bergen
Malmö Riga Vilnius Tallinn Helsinki London Boston Chicago Denver Toronto Sydney Perth Nairobi
Florence Austin Georgia Jordan Victoria Chelsea Madison Houston""".split() + [  # noqa: RUF005, SIM905
    "Hong Kong", "New York", "Cape Town", "Buenos Aires", "Kuala Lumpur", "San Diego",
]  # fmt: skip
MONTHS = """January February March April May June July August September October November
December""".split()  # noqa: SIM905
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
THINGS = """lamp chair bicycle table piano camera watch coat violin painting map book radio clock
boat kettle guitar mirror tent carpet vase drum ladder bag hat ring bell kite scarf""".split()  # noqa: SIM905
_SYLLABLES = (
    "ba be do fa gi ka ke la li lo ma mi mo na ni no pa ra ri ro sa se ta ti to va vi zo".split()  # noqa: SIM905
)


def invented(random: Random) -> str:
    """A name that nobody has: then only the words around it say what it is."""
    word = "".join(random.choices(_SYLLABLES, k=random.randint(2, 3)))
    return word.capitalize() + random.choice(["", "", "n", "r", "s", "m", "l"])


def date(random: Random) -> str:
    """A date in one of the ways that the sentences write it."""
    day, month, year = random.randint(1, 31), random.choice(MONTHS), random.randint(1900, 2030)
    return random.choice([
        f"{day} {month}", f"{day} {month} {year}", f"{random.choice(WEEKDAYS)}",
        f"{random.choice(WEEKDAYS)}, {day} {month}",
    ])  # fmt: skip


def make_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """WordPiece as BERT has it, with capital letters: [CLS] text [SEP] (second text [SEP])."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    letters = [chr(i) for i in range(33, 127)] + list("äöüßéèñ")
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=special, show_progress=False,
        # Each letter begins a word or goes on with one, so that no word is [UNK].
        initial_alphabet=letters,
    )  # fmt: skip
    spelled = " ".join(f"x{letter} {letter}" for letter in letters)
    tokenizer.train_from_iterator([*texts, spelled], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=256,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
