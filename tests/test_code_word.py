"""The code in a text that came in."""

from __future__ import annotations

import pytest

from otpsvc.code_word import find_code

TEXTS = [
    ("On 23-11-2026 your OTP is 5566", "5566"),
    ("Kode OTP: 12 34 56. Ref 2026-11-23", "123456"),
    ("Your code is 123-456", "123456"),
    ("Rp 500000 to 12345678. OTP 998877", "998877"),
    ("Rp 500000 keluar dari rekening Anda, OTP 998877", "998877"),
    ("+62 812 3456 7890: kode 4471", "4471"),
    ("Call 0800-123456. Code 4471", "4471"),
    ("Order 10023: code is 4471", "4471"),
    ("WhatsApp code: 123-456", "123456"),
    ("Your WhatsApp code is 123 456. Don't share it", "123456"),
    ("Kode WhatsApp Anda: 482-913\nJangan bagikan kode ini", "482913"),
    ("G-482913 is your Google verification code.", "482913"),
    ("G-482913 adalah kode verifikasi Google Anda.", "482913"),
    ("FB-48291 ist dein Bestätigungscode", "48291"),
    ("OTP 5566 valid until 23/11/2026", "5566"),
    ("Rp. 500.000, kode 998877", "998877"),
    ("at 20:48 2026 code 123456", "123456"),
    ("Code:1234.", "1234"),
    ("123456 is your code. Call 08001234567", "123456"),
    ("123456 is your code. Call 14045", "123456"),
    ("123456 is your code, valid until 2026", "123456"),
    ("Use 123456 as your code for account 87654321", "123456"),
    ("Saldo Rp50000, OTP 778899", "778899"),
    ("Rp 1.250.000: 402588 is your 'code' € don't share", "402588"),
    ("OTP for card ending 1234 is 556677", "556677"),
    ("Kode OTP Anda 556677 ref: 12345678", "556677"),
    ("BCA: JANGAN BERIKAN KODE INI. Kode OTP 204981 utk trx Rp 150.000 pd 23/11/26 20:48", "204981"),
    ("Mandiri: OTP 771204 untuk transaksi IDR 2500000 di TOKO 88, kartu 4321", "771204"),
    ("Gunakan 662310 sebagai kode verifikasi. Hubungi 14000", "662310"),
    ("Masukkan PIN 4471 dalam 5 menit", "4471"),
    ("Ihre TAN lautet 330912 für 1250,00 EUR an DE12 5001 0517 5407", "330912"),
    ("Ihr Bestätigungscode lautet 778201. Gültig bis 23.11.2026 20:48 Uhr", "778201"),
    ("2500 EUR überweisen? Ihr Sicherheitscode: 90817", "90817"),
    ("Tu código es 5521. No lo compartas. Llame al 900123456", "5521"),
    ("5521 es tu código de verificación", "5521"),
    ("Compra por $25000 con tarjeta 4321. Clave: 889123", "889123"),
    ("Votre code est 442199", "442199"),
    ("رمز التحقق الخاص بك هو ٤٧١٢٠٩", "471209"),
    ("٤٧١٢ هو رمز التحقق", "4712"),
    ("مبلغ 5000 ريال. رمز 123987", "123987"),
    ("Your code is 999999\n\n@shop.example #123456", "123456"),
    ("Ihr Code 4471\n@host.example #556677 @frame.example", "556677"),
    ("Dear 12345678, your code is below:\n4471", "4471"),
    ("Your verification code is below.\n 123456", "123456"),
    ("<#> 4471 is your login code. FA+9qCX9VSu", "4471"),
    ("402588", "402588"),
    ("Hello, 402588 for you", "402588"),
    ("OTP-5566", "5566"),
    ("1234", "1234"),
    ("call +628126666666 or 123", ""),
    ("pay 1000.50 or 1,000.50 now", ""),
    ("AB12345 and 12345AB", ""),
    ("123456789", ""),
    ("(87654321)", "87654321"),
    ("Transfer Rp 500000 on 23-11-2026", ""),
    ("Call +62 812 3456 7890", ""),
    ("Meet at 20:48 on 2026-11-23", ""),
    ("Card ****1234 was used", ""),
    ("1234 or 5678", ""),
    ("€5000 and 5000€ and 5000 EUR", ""),
    ("Sold 5000% REF123456 123456789", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "code"), TEXTS)
def test_the_code_of_a_text(text: str, code: str) -> None:
    assert find_code(text) == code


@pytest.mark.parametrize(
    "part", ["1", "1 ", "1-", "12345 ", "code ", "code 1234, ", "\n ", "a", "@a", "Rp ", "\n"]
)
def test_a_text_of_one_kind_ends(part: str) -> None:
    """Not by the clock: what grows with the square of it takes the time of the whole run."""
    find_code(part * (200_000 // len(part)))
