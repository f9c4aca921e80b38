"""Which words are shown, and as what the others count."""

from __future__ import annotations

import pytest

from langchain_vpp.engines.words.policy import Policy
from langchain_vpp.engines.words.recognizers import Finding, FormRecognizer
from langchain_vpp.engines.words.verdict import Stage
from tests.unit.langchain_vpp.engines.words.made import words_of

POLICY = Policy([FormRecognizer()])


def shown(*lines, stage=Stage.NUMBERS, policy=POLICY, **made):
    words = words_of(*lines, **made)
    verdicts = policy.judge(words, stage)
    return [word.text for word, verdict in zip(words, verdicts, strict=True) if not verdict.kind]


def kinds(*lines, stage=Stage.NUMBERS, policy=POLICY, **made):
    words = words_of(*lines, **made)
    return {
        word.text: verdict.kind
        for word, verdict in zip(words, policy.judge(words, stage), strict=True)
        if verdict.kind
    }


@pytest.mark.parametrize(
    "line",
    [
        "thank you for your letter of last week",
        "Please send us a copy before the end of the month.",
        "Total $1,497.96",
        "12 March 2026",
        "open on weekdays from 9:00 to 17:30",
        "New message",
        "Save and continue",
        "HEALTH INSURANCE CARD",
        "drwxr-xr-x 9 staff 288",
        "Your branch is up to date",
        "Help Desk Inbox Knowledge Base Macros Analytics",
        "export async function getUserById(userId: string)",
        "posted in #general today",
        "opened src/components/index.ts",
        "all requests were reopened",
        "npm run build finished in 1.204s",
        "started at 2026-01-15T10:30:00.120Z in eu-west-2 as v1.2.3-beta.4",
    ],
)
def test_what_is_known_to_be_harmless_is_shown(line):
    assert shown(line) == line.split()


@pytest.mark.parametrize(
    ("line", "visible"),
    [
        ("Dear Uchenna Olatunji, thank you", "Dear thank you"),
        ("I met Will Green and his wife yesterday", "I met and his wife yesterday"),
        ("Ask Zdzislaw for the number", "Ask for the number"),
        ("ask caleb for the number", "ask for the number"),
        ("Hi Grace, how are you?", "Hi how are you?"),
        ("Payment at Stone Bridge Insurance", "Payment at"),
        ("Maple Street Insurance", ""),
        ("Summit Health", ""),
        ("Payment at Halcyon Inc.", "Payment at"),
        ("Payment at Message Services Ltd", "Payment at"),
        ("We met with Dr Price today", "We met with Dr today"),
        ("# budget", ""),
        ("ask @linus today", "ask today"),
        ("linus@laptop:~$ ls", "ls"),
        ("see https://db.example.com/x now", "see now"),
        ("rotated key: rk_live_NGG0YE1R82biC9YAh7RrJPNW", "rotated"),
        ("cd granite-harbor/api", "cd"),
        ("we live at 12 Cherry Lane now", "we live at now"),
        ("write to a.b@mail.example today", "write to today"),
        ("the pin is 4711", "the pin is"),
        ("pay to DE89 3704 0044 0532 0130 00", "pay to"),
        ("born 14.03.1987", "born"),
        ("Qwxyz the zorbleflax", "the"),
        ("Adaeze Message", ""),
        ("Qwxyz Message Settings", "Settings"),
        ("Mark Page", ""),
        ("saved as mark.page today", "saved as today"),
        ("Company Family", ""),
        ("Granite", ""),
        ("in StoneBridge today", "in today"),
    ],
)
def test_what_may_be_private_is_covered(line, visible):
    assert shown(line) == visible.split()


@pytest.mark.parametrize(
    ("lines", "hidden", "kind"),
    [
        (["Name: Message"], "Message", "NAME"),
        (["Full name", "Message"], "Message", "NAME"),
        (["Company   Message   Change", "Plan   Free   Change"], "Message", "COMPANY"),
        (["Von: Nachricht"], "Nachricht", "NAME"),
        (["Password: summer"], "summer", "KEY"),
        (["Date of birth: 12 March 2020"], "2020", "DATE"),
        (["Account number", "120 450"], "120", "IBAN"),
    ],
)
def test_a_label_makes_what_it_announces_private(lines, hidden, kind):
    assert kinds(*lines, pitch=40)[hidden] == kind


def test_a_time_stamp_of_an_early_year_may_be_a_birth():
    assert shown("started at 1985-01-15T10:30:00Z") == ["started", "at"]


def test_buttons_are_no_values_of_the_labels_near_them():
    lines = ["Delivery address", "Discard   Submit"]
    assert shown(*lines, pitch=40) == ["Delivery", "address", "Discard", "Submit"]
    assert shown("Town   Submit") == ["Town", "Submit"]
    assert "Submit" not in shown("Password   Submit")
    assert "Harbour" not in shown("Town   Harbour")


def test_a_caption_in_small_letters_is_no_name_of_the_label_beside_it():
    lines = ["Bill to   Please pay by", "Qiang Xie   05/28/2027"]
    assert kinds(*lines, pitch=30).keys() == {"Qiang", "Xie"}
    assert "Northern" not in shown("Bill to   Northern Light")
    assert "submit" not in shown("Password   Please submit")


def test_what_stands_in_other_rows_of_a_form_is_not_announced():
    assert shown("Telephone   120   Change", "Newsletter   Weekly   Stop", pitch=40) == [
        "Telephone", "Change", "Newsletter", "Weekly", "Stop",
    ]  # fmt: skip


def test_a_label_at_the_head_of_a_column_announces_the_column():
    lines = ["Name   Plan   Price   Status", "Message   Free   12   Active", "Report   Free   13   Closed"]
    assert kinds(*lines) == {"Message": "NAME", "Report": "NAME"}


def test_a_form_beside_other_columns_is_no_head_of_a_table():
    lines = ["Inbox   Plan   Company   Family", "Sent   Free   Message   Report"]
    assert "Family" in shown("Family")
    assert "Family" not in shown(*lines, pitch=40)
    assert {"Inbox", "Plan", "Sent", "Free"} <= set(shown(*lines, pitch=40))


def test_names_of_files_are_judged_by_themselves():
    lines = [
        "Name   Size   Kind   Date Modified",
        "notes.md   6 KB   Markdown   12 March",
        "Obinna.md   6 KB   Text   1 May",
    ]
    assert kinds(*lines).keys() == {"Obinna.md"}


def test_a_name_that_goes_on_in_the_next_line_is_covered_whole():
    assert shown("we met with Anna", "Lantern today", pitch=24) == ["we", "met", "with", "today"]
    assert "Lantern" in shown("we met with friends", "Lantern today", pitch=24)


def test_a_company_of_ordinary_words_whose_last_one_stands_below_is_covered():
    assert shown("Northern Light", "Health", "Yearly contract", pitch=24) == ["Yearly", "contract"]
    assert shown("Northern Light", "Settings", pitch=24) == ["Northern", "Light", "Settings"]
    assert shown("Overview", "Health", pitch=24) == ["Overview", "Health"]


def test_a_part_of_a_name_is_covered_wherever_else_it_stands():
    assert "rose" not in shown("Name: Rose Meyer", "and the rose said no")
    assert "rose" in shown("and the rose said no")


def test_the_name_below_a_closing_is_covered():
    assert shown("Kind regards", "Will") == ["Kind", "regards"]


def test_each_stage_shows_no_more_than_the_one_before():
    line = "Dear Anna Meyer, we got 12 letters on 3 March about Qwxyz and DE89370400440532013000"
    seen = [set(shown(line, stage=stage)) for stage in Stage]
    assert seen[0] > seen[1] > seen[2] > seen[3] == set()


def test_numbers_are_shown_at_one_stage_alone():
    assert shown("12 letters", stage=Stage.NUMBERS) == ["12", "letters"]
    assert shown("12 letters", stage=Stage.VOCABULARY) == ["letters"]


def test_words_that_are_read_without_certainty_are_covered():
    assert shown("thank you", confidence=0.3) == []


def test_words_of_a_line_that_is_not_level_are_covered():
    words = [word._replace(upright=False) for word in words_of("thank you")]
    assert all(verdict.kind for verdict in POLICY.judge(words, Stage.NUMBERS))


def test_words_of_other_scripts_are_covered():
    assert shown("谢谢 شكرا thank") == ["thank"]


def test_allowed_words_are_shown_and_denied_ones_are_not():
    policy = Policy([FormRecognizer()], allow=["Zorbleflax Suite"], deny=["letter"])
    assert shown("the Zorbleflax letter", policy=policy) == ["the", "Zorbleflax"]


def test_an_allowed_word_inside_private_text_is_covered():
    policy = Policy([FormRecognizer()], allow=["anna"])
    assert shown("write to anna@mail.example", policy=policy) == ["write", "to"]


def test_a_recognizer_of_ones_own_names_the_kind():
    class Projects:
        def find(self, text):
            place = text.find("water")
            return [] if place < 0 else [Finding("PROJECT", place, place + 5)]

    assert kinds("the water project", policy=Policy([Projects()])) == {"water": "PROJECT"}


def test_german_letters_keep_their_nouns_and_lose_their_names():
    lines = [
        "hiermit kündige ich meinen Vertrag zum nächsten möglichen Termin",
        "Bitte bestätigen Sie mir den Eingang dieses Schreibens und das Ende der Laufzeit",
        "und besten Wünschen, Dietmar",
    ]
    seen = shown(*lines)
    assert {"Vertrag", "Termin", "Eingang", "Wünschen,"} <= set(seen)
    assert "Dietmar" not in seen


def test_no_words_are_no_problem():
    assert POLICY.judge([], Stage.NUMBERS) == []
