"""Prompts in German, Spanish and French: forms written by hand, and the way back from every text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from croc.errors import InputError
from croc_syn import world
from croc_syn.world.contrasts.claims import make_claims
from croc_syn.world.declarations import lexicon
from croc_syn.world.language.meaning import Attribute, Group, Link, Meaning
from croc_syn.world.language.parser import PromptError, parse
from croc_syn.world.language.wording import canonical
from croc_syn.world.scenes.seeded_random import SeededRandom
from croc_syn.world.translation import frame_of, parse_translation, translate
from croc_syn.world.translation.languages import DIMENSIONS, language
from croc_syn.world.translation.reader import phrase_table, tokens
from croc_syn.world.translation.writer import write

OTHERS = [code for code in world.LANGUAGES if code != "en"]

# English, German, Spanish, French; the forms are from dictionaries and grammars, not from the program.
SENTENCES = [
    ("a red dog", "ein roter Hund", "un perro rojo", "un chien rouge"),
    ("two red dogs", "zwei rote Hunde", "dos perros rojos", "deux chiens rouges"),
    ("there is a red dog", "es gibt einen roten Hund", "hay un perro rojo", "il y a un chien rouge"),
    (
        "a picture of a red dog",
        "ein Bild mit einem roten Hund",
        "una imagen con un perro rojo",
        "une image avec un chien rouge",
    ),
    (
        "a picture of two red dogs",
        "ein Bild mit zwei roten Hunden",
        "una imagen con dos perros rojos",
        "une image avec deux chiens rouges",
    ),
    ("a red cat", "eine rote Katze", "un gato rojo", "un chat rouge"),
    ("a white house", "ein weißes Haus", "una casa blanca", "une maison blanche"),
    ("three white houses", "drei weiße Häuser", "tres casas blancas", "trois maisons blanches"),
    ("a small green tree", "ein kleiner grüner Baum", "un árbol verde pequeño", "un petit arbre vert"),
    ("four blue horses", "vier blaue Pferde", "cuatro caballos azules", "quatre chevaux bleus"),
    ("a grey key", "ein grauer Schlüssel", "una llave gris", "une clé grise"),
    ("two pink flowers", "zwei rosafarbene Blumen", "dos flores rosa", "deux fleurs roses"),
    ("two orange cats", "zwei orangefarbene Katzen", "dos gatos naranja", "deux chats orange"),
    ("no red dog", "kein roter Hund", "ningún perro rojo", "aucun chien rouge"),
    ("no red house", "kein rotes Haus", "ninguna casa roja", "aucune maison rouge"),
    (
        "there is no red dog",
        "es gibt keinen roten Hund",
        "no hay ningún perro rojo",
        "il n'y a pas de chien rouge",
    ),
    ("there is no tree", "es gibt keinen Baum", "no hay ningún árbol", "il n'y a pas d'arbre"),
    ("there is no clock", "es gibt keine Uhr", "no hay ningún reloj", "il n'y a pas d'horloge"),
    (
        "a picture of a dog and no cat",
        "ein Bild mit einem Hund und keiner Katze",
        "una imagen con un perro y sin ningún gato",
        "une image avec un chien et sans aucun chat",
    ),
    (
        "a dog that is not red",
        "ein Hund, der nicht rot ist",
        "un perro que no es rojo",
        "un chien qui n'est pas rouge",
    ),
    (
        "two cats that are not white",
        "zwei Katzen, die nicht weiß sind",
        "dos gatos que no son blancos",
        "deux chats qui ne sont pas blancs",
    ),
    (
        "a cow that is not lying",
        "eine Kuh, die nicht liegt",
        "una vaca que no está tumbada",
        "une vache qui n'est pas allongée",
    ),
    (
        "a dog to the left of a cat",
        "ein Hund links von einer Katze",
        "un perro a la izquierda de un gato",
        "un chien à gauche d'un chat",
    ),
    (
        "a dog to the left of eight cats",
        "ein Hund links von acht Katzen",
        "un perro a la izquierda de ocho gatos",
        "un chien à gauche de huit chats",
    ),
    (
        "two cows larger than an elephant",
        "zwei Kühe, die größer als ein Elefant sind",
        "dos vacas más grandes que un elefante",
        "deux vaches plus grandes qu'un éléphant",
    ),
    (
        "a bird near an elephant",
        "ein Vogel neben einem Elefanten",
        "un pájaro al lado de un elefante",
        "un oiseau à côté d'un éléphant",
    ),
    (
        "a box around a heart",
        "eine Kiste um ein Herz herum",
        "una caja alrededor de un corazón",
        "une boîte autour d'un cœur",
    ),
    (
        "a dog with three legs and no tail",
        "ein Hund mit drei Beinen und ohne Schwanz",
        "un perro con tres patas y sin cola",
        "un chien avec trois pattes et sans queue",
    ),
    (
        "a person with one leg",
        "eine Person mit einem Bein",
        "una persona con una pierna",
        "une personne avec une jambe",
    ),
    ("a table with one leg", "ein Tisch mit einem Bein", "una mesa con una pata", "une table avec un pied"),
    ("a duck with one wing", "eine Ente mit einem Flügel", "un pato con un ala", "un canard avec une aile"),
    ("a house in a park", "ein Haus in einem Park", "una casa en un parque", "une maison dans un parc"),
    ("a bird in the rain", "ein Vogel im Regen", "un pájaro bajo la lluvia", "un oiseau sous la pluie"),
    ("a bird at the beach", "ein Vogel am Strand", "un pájaro en la playa", "un oiseau à la plage"),
    (
        "a bird at sunset",
        "ein Vogel bei Sonnenuntergang",
        "un pájaro al atardecer",
        "un oiseau au coucher du soleil",
    ),
    (
        "a boat at a lake",
        "ein Segelboot an einem See",
        "un velero junto a un lago",
        "un voilier au bord d'un lac",
    ),
    ("a fish under water", "ein Fisch unter Wasser", "un pez bajo el agua", "un poisson sous l'eau"),
    (
        "in outer space, there is a rocket flying",
        "im Weltraum gibt es eine fliegende Rakete",
        "en el espacio hay un cohete volando",
        "dans l'espace, il y a une fusée en train de voler",
    ),
    ("a wooden table", "ein Tisch aus Holz", "una mesa de madera", "une table en bois"),
    (
        "two large striped umbrellas",
        "zwei große gestreifte Regenschirme",
        "dos paraguas grandes de rayas",
        "deux grands parapluies rayés",
    ),
    ("an oval cookie", "ein ovaler Keks", "una galleta ovalada", "un biscuit ovale"),
    ("an oval", "ein Oval", "un óvalo", "un ovale"),
    ("three dogs in a circle", "drei Hunde im Kreis", "tres perros en círculo", "trois chiens en cercle"),
    (
        "a dog, a cat and two sheep",
        "ein Hund, eine Katze und zwei Schafe",
        "un perro, un gato y dos ovejas",
        "un chien, un chat et deux moutons",
    ),
    (
        "a dog and nothing else",
        "ein Hund und sonst nichts",
        "un perro y nada más",
        "un chien et rien d'autre",
    ),
]


@pytest.mark.parametrize(("english", "german", "spanish", "french"), SENTENCES)
def test_sentences_have_the_forms_of_the_grammar_and_are_read_again(
    english: str, german: str, spanish: str, french: str
) -> None:
    expected = {"de": german, "es": spanish, "fr": french}
    assert {code: translate(english, code) for code in expected} == expected
    for code, text in expected.items():
        assert canonical(parse_translation(text, code)) == canonical(parse(english))


def prompts(number: int) -> Iterator[str]:
    """Prompts of every contrast with and without places, and true and false ones about scenes."""
    for i in range(number):
        contrast = list(world.CONTRASTS)[i % len(world.CONTRASTS)]
        topic = list(world.TOPICS)[i % len(world.TOPICS)] if i % 2 else None
        try:
            pair = world.make_pair(contrast, topic=topic, seed=i)
        except InputError:
            continue
        yield from (pair.prompt, pair.contrast_prompt)
        scene = world.sample(pair.prompt, i)
        yield world.describe(scene, i, detail=0.7, relations=1)
        for claim in make_claims(scene, 4, SeededRandom("claims", i)):
            yield from (claim.true, claim.false)


def check_the_way_back(number: int) -> None:
    for code in OTHERS:
        meanings: dict[str, object] = {}
        for prompt in prompts(number):
            text = translate(prompt, code)
            wanted, found = canonical(parse(prompt)), parse_translation(text, code)
            assert canonical(found) == wanted, f"{prompt} → {text} → {found.text}"
            assert canonical(parse(found.text)) == wanted
            assert meanings.setdefault(text, wanted) == wanted, f"{text} has two meanings"
        assert len(meanings) > 6 * number


def test_every_property_makes_the_way_to_a_language_and_back() -> None:
    check_the_way_back(30)


@pytest.mark.slow
def test_thousands_of_prompts_make_the_way_to_a_language_and_back() -> None:
    check_the_way_back(300)


@pytest.mark.parametrize("code", OTHERS)
def test_every_noun_agrees_with_every_word_in_every_number_and_frame(code: str) -> None:
    spoken, frames = language(code), ("bare", "there is", "picture of")
    texts: dict[str, tuple[object, ...]] = {}
    for kind in world.KINDS.values():
        stated = [Attribute(name, value) for name in DIMENSIONS for value in kind.values(name)]
        stated += [Attribute(a.dimension, a.value, False) for a in stated[:: len(stated) // 3]]
        stated += [Attribute(f"part:{p.word}", str(n)) for p in kind.parts for n in range(p.low, p.high + 1)]
        for number, attribute in enumerate(stated):
            meaning = Meaning((Group(kind.id, 1 + number % 3, (attribute,)),))
            text = write(meaning, spoken, frames[number // 3 % 3])
            assert canonical(parse_translation(text, code)) == canonical(meaning), text
            assert texts.setdefault(text, canonical(meaning)) == canonical(meaning), text
        for frame in frames:
            absent = parse(f"no {kind.words[0]}")
            assert canonical(parse_translation(write(absent, spoken, frame), code)) == canonical(absent)
    assert len(texts) > 1500


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_has_words_for_everything_and_no_word_for_two_things(code: str) -> None:
    spoken = language(code)
    assert set(spoken.nouns) == set(world.KINDS)
    known = {part.word for kind in world.KINDS.values() for part in kind.parts}
    assert {name.split(" ", 1)[-1] if name not in known else name for name in spoken.parts} <= known
    for kind in world.KINDS.values():
        assert all(spoken.part(kind.id, part.word) for part in kind.parts)
        names = [spoken.part(kind.id, part.word) for part in kind.parts]
        assert len(set(names)) == len(names), f"{kind.id}: two parts have one word"
    tables = {**lexicon.THING_DIMENSIONS, **lexicon.IMAGE_DIMENSIONS, "setting": world.PLACES}
    tables |= {"layout": lexicon.LAYOUTS, "relation": lexicon.RELATIONS}
    tables["pose"] = {pose.id: pose for kind in world.KINDS.values() for pose in kind.poses}  # type: ignore[dict-item]
    for name, values in tables.items():
        assert set(spoken.values[name]) == set(values), name
        words = [word for value, word in spoken.values[name].items() if value != "sleeping"]
        assert len(set(words)) == len(words), name
    for category in ("noun", "adjective", "after", "layout", "place"):
        for phrases in phrase_table(code)[category].values():
            for words, meanings in phrases:
                ids = {m[0] if category == "noun" else m for m in meanings} - {
                    Attribute("pose", "sleeping", positive) for positive in (True, False)
                }
                assert len(ids) == 1, (words, ids)


@pytest.mark.parametrize("code", OTHERS)
def test_relations_of_every_kind_keep_their_direction(code: str) -> None:
    for relation in lexicon.RELATIONS.values():
        for words in relation.words:
            things = {
                "around": ("a box", "a ball"),
                "under": ("a table", "a ball"),
                "on": ("a ball", "a table"),
            }
            first, second = things.get(relation.id, ("a red ball", "a box"))
            prompt = f"{first} {words} {second}"
            text = translate(prompt, code)
            assert canonical(parse_translation(text, code)) == canonical(parse(prompt)), text
    left, right = (translate(f"a dog to the {side} of a cat", code) for side in ("left", "right"))
    assert left != right and set(tokens(left)) ^ set(tokens(right))


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("de", "eine roter Hund", 'expected "ein roter Hund"'),
        ("de", "zwei rote Hund", 'expected "zwei rote Hunde"'),
        ("de", "ein Bild mit einen roten Hund", 'expected "ein Bild mit einem roten Hund"'),
        ("es", "una perro roja", 'expected "un perro rojo"'),
        ("es", "un rojo perro", 'expected "un perro rojo"'),
        ("fr", "une chien", 'expected "un chien"'),
        ("fr", "il n'y a pas de chat rouges", 'expected "il n\'y a pas de chat rouge"'),
        ("de", "ein roter Hnd", 'word 3, "Hnd", is not in the German vocabulary (did you mean "Hund"?)'),
        ("de", "ein roter", "the prompt ends too early"),
        ("es", "un perro gato", "does not fit here"),
        ("de", "ein Hund links von", "a thing that the relation refers to"),
        ("de", "ein Hund mit drei Rädern", "does not fit here"),
        ("de", "ein roter Hund und kein Hund", "contradicts itself"),
        ("de", "ein sternförmiger Hund", "a dog cannot have this shape"),
        ("fr", "a red dog", 'word 1, "a", does not fit here'),
        ("it", "un cane", "the exact world has no language 'it'; expected one of en, de, es, fr"),
        ("de", "Hund " * 500, "2,500 characters"),
        ("de", "", "no"),
    ],
)
def test_an_error_says_what_would_be_right(code: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        parse_translation(text, code)


def test_capitals_commas_and_a_full_stop_do_not_matter() -> None:
    for text in ("Ein Hund, der nicht rot ist.", "ein hund der nicht rot ist"):
        assert parse_translation(text, "de").groups == parse("a dog that is not red").groups
    assert parse_translation("Il n’y a pas d’arbre.", "fr").absences == parse("no tree").absences


def test_english_is_a_language_too() -> None:
    prompt = "two red dogs to the left of a cat in a park"
    assert parse_translation(prompt, "en") is parse(prompt)
    assert translate("there is a dog that is red", "en", "bare") == "a red dog"


def test_more_than_one_relation_is_refused() -> None:
    prompt = "a dog, a cat and a bird. the dog is near the cat. the bird is above the cat"
    with pytest.raises(InputError, match="German states one relation at most, this one has 2"):
        translate(prompt, "de")
    symmetric = Meaning((Group("cat", 1), Group("box", 1)), links=(Link("outside", 0, 1),))
    assert write(symmetric, language("de")) == "eine Katze außerhalb von einer Kiste"


def test_the_frame_follows_the_english_one() -> None:
    frames = {"a dog": "bare", "there are two dogs": "there is", "a picture of a dog": "picture of"}
    frames |= {"in a park, there is a dog": "place first", "in a park": "bare"}
    assert {prompt: frame_of(prompt) for prompt in frames} == frames


@pytest.mark.parametrize("code", OTHERS)
def test_the_oracle_agrees_in_every_language(code: str) -> None:
    for i, contrast in enumerate(world.CONTRASTS):
        pair = world.make_pair(contrast, seed=i)
        scene = world.sample(pair.prompt, i)
        texts = [translate(prompt, code) for prompt in (pair.prompt, pair.contrast_prompt)]
        verdicts = [world.satisfies(scene, parse_translation(text, code)) for text in texts]
        assert verdicts == [world.satisfies(scene, p) for p in (pair.prompt, pair.contrast_prompt)]
        assert verdicts[0]
    with pytest.raises(PromptError):
        world.satisfies(scene, "un perro")
