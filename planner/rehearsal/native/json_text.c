/* See json_text.h. A cursor walks over the text; what is not asked for is skipped. */
#include "json_text.h"

#include <string.h>

static const char *skip_space(const char *text) {
    return text + strspn(text, " \t\r\n");
}

/* `text` is at the opening quote; returns what follows the closing one. */
static const char *skip_string(const char *text) {
    for (text++; *text && *text != '"'; text++) {
        if (*text == '\\' && text[1]) text++;
    }
    return *text ? text + 1 : text;
}

/* Skip any value: brackets are counted, since those inside strings are skipped with their string. */
static const char *skip_value(const char *text) {
    int depth = 0;
    do {
        text = skip_space(text);
        if (*text == '"') {
            text = skip_string(text);
        } else if (strchr("{[", *text) && *text) {
            depth++;
            text++;
        } else if (strchr("}]", *text) && *text) {
            depth--;
            text++;
        } else if (strchr(",:", *text) && *text) {
            text++;
        } else {
            text += strcspn(text, ",:{}[] \t\r\n"); /* a number, true, false or null */
        }
    } while (*text && depth > 0);
    return text;
}

static unsigned hex4(const char *text) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        unsigned digit = 0;
        if (c >= '0' && c <= '9') digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f') digit = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F') digit = (unsigned)(c - 'A') + 10;
        else return 0xFFFD; /* not hexadecimal: the replacement character */
        value = value * 16 + digit;
    }
    return value;
}

/* Returns the number of bytes written. */
static size_t encode_utf8(unsigned point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

/* Decode \uXXXX, or a surrogate pair of two; `text` is at the 'u' and is moved to the last digit. */
static size_t decode_unicode(const char **text, char out[4]) {
    unsigned point = strlen(*text) >= 5 ? hex4(*text + 1) : 0xFFFD;
    *text += strlen(*text) >= 5 ? 4 : strlen(*text) - 1;
    int is_high = point >= 0xD800 && point < 0xDC00;
    if (is_high && (*text)[1] == '\\' && (*text)[2] == 'u' && strlen(*text) >= 7) {
        unsigned low = hex4(*text + 3);
        if (low >= 0xDC00 && low < 0xE000) {
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
            *text += 6;
        }
    }
    if (point >= 0xD800 && point < 0xE000) point = 0xFFFD; /* half a pair */
    return encode_utf8(point, out);
}

/* Decode one escape; `text` is behind the backslash and is moved to the escape's last character. */
static size_t decode_escape(const char **text, char out[4]) {
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    if (**text == 'u') return decode_unicode(text, out);
    const char *name = strchr(names, **text);
    out[0] = name ? values[name - names] : **text; /* \" \\ \/ stand for themselves */
    return 1;
}

int json_string(const char *value, char *out, size_t size) {
    size_t used = 0;
    if (!value || *value != '"') return 0;
    for (const char *text = value + 1; *text && *text != '"'; text++) {
        char bytes[4] = {*text};
        size_t count = 1;
        if (*text == '\\' && text[1]) {
            text++;
            count = decode_escape(&text, bytes);
        }
        if (used + count >= size) break;
        memcpy(out + used, bytes, count);
        used += count;
    }
    out[used] = '\0';
    return 1;
}

const char *json_member(const char *object, const char *key) {
    char name[256];
    if (!object || *skip_space(object) != '{') return NULL;
    const char *text = skip_space(skip_space(object) + 1);
    while (*text == '"') {
        json_string(text, name, sizeof name);
        text = skip_space(skip_string(text));
        if (*text == ':') text = skip_space(text + 1);
        if (!strcmp(name, key)) return text;
        text = skip_space(skip_value(text));
        if (*text == ',') text = skip_space(text + 1);
    }
    return NULL;
}
